"""Which commands reach the targets of a broadcast: every loudspeaker that is meant, once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector.broadcasts.targets import Order, plan
from village_wire.areas import contains
from village_wire.commands import Target
from village_wire.tags import meant

BROADCAST = UUID(int=1)
COUNTY, TOWNSHIP, VILLAGE, GRID = "441900000000", "441900003000", "441900003001", "441900003001-g02"
ELSEWHERE = "330110101000"
TAGS = ("clinic", "market", "school")
#: Two in one place, one further up, one elsewhere, and one that never said where it is.
AREAS = {"a": GRID, "b": GRID, "c": TOWNSHIP, "d": ELSEWHERE, "e": ""}


def planned(*targets: Target) -> list[Order]:
    numbers = count(2)
    return plan(BROADCAST, targets, AREAS, lambda: UUID(int=next(numbers)))


def shown(orders: Sequence[Order]) -> list[tuple[str, tuple[str, ...], int]]:
    return [(str(order.target), order.target.without, order.command.int) for order in orders]


def test_a_target_within_another_one_is_left_out() -> None:
    orders = planned(Target(agent="a"), Target(area=VILLAGE), Target(area=COUNTY), Target(agent="d", device="x"))
    assert shown(orders) == [(COUNTY, (), 1), ("d/x", (), 1)]


def test_an_agent_carries_out_each_id_once() -> None:
    orders = planned(Target(agent="a", device="x"), Target(agent="a", device="y"), Target(agent="b"))
    assert shown(orders) == [("a/x", (), 1), ("a/y", (), 2), ("b", (), 1)]


def test_tags_in_one_place_are_one_command() -> None:
    orders = planned(Target(area=COUNTY, tags=("school",)), Target(area=COUNTY, tags=("clinic",)))
    assert shown(orders) == [(f"{COUNTY}/tag:clinic,school", (), 1)]
    assert shown(planned(Target(area=COUNTY, tags=("school",)), Target(area=COUNTY))) == [(COUNTY, (), 1)]


def test_the_whole_of_a_place_goes_without_what_tags_reach_from_further_up() -> None:
    orders = planned(
        Target(area=VILLAGE), Target(agent="a", device="x"), Target(area=COUNTY, tags=("school",)), Target(agent="c")
    )
    assert shown(orders) == [
        (f"{COUNTY}/tag:school", (), 1),
        (VILLAGE, ("school",), 2),
        ("c", ("school",), 3),
    ]


def test_tags_that_are_reached_from_further_up_are_left_out() -> None:
    wide = Target(area=COUNTY, tags=("clinic", "school"))
    assert shown(planned(Target(area=VILLAGE, tags=("school",)), wide)) == [(f"{COUNTY}/tag:clinic,school", (), 1)]
    assert shown(planned(Target(area=VILLAGE, tags=("market", "school")), wide))[1:] == [
        (f"{VILLAGE}/tag:market", ("clinic", "school"), 2)
    ]


def test_too_many_tags_are_refused() -> None:
    many = [Target(area=COUNTY, tags=(f"t{number}",)) for number in range(9)]
    with pytest.raises(ValueError, match="at most 8"):
        planned(*many)


places = st.sampled_from(
    [
        *({"area": area} for area in (COUNTY, TOWNSHIP, VILLAGE, GRID, ELSEWHERE)),
        *({"agent": agent} for agent in AREAS),
        *({"agent": agent, "device": device} for agent in AREAS for device in ("x", "y")),
    ]
)
some_tags = st.sets(st.sampled_from(TAGS))


@st.composite
def chosen(draw: st.DrawFn) -> Target:
    place = draw(places)
    return Target.model_validate(place if "device" in place else {**place, "tags": draw(some_tags)})


def reaches(target: Target, agent: str, device: str, carried: set[str]) -> bool:
    if target.area is not None:
        there = bool(AREAS[agent]) and contains(target.area, AREAS[agent])
    else:
        there = target.agent == agent and target.device in {None, device}
    return there and meant(carried, target.tags, target.without)


@given(
    st.lists(chosen(), min_size=1, max_size=6), st.fixed_dictionaries({(a, d): some_tags for a in AREAS for d in "xyz"})
)
def test_every_loudspeaker_that_is_meant_is_meant_once(
    targets: list[Target], carried: dict[tuple[str, str], set[str]]
) -> None:
    orders = planned(*targets)
    heard: dict[tuple[str, str], int] = {}
    known: set[tuple[str, UUID]] = set()
    for order in orders:
        for agent, area in AREAS.items():
            addressed = (
                order.target.agent == agent
                if order.target.area is None
                else reaches(Target(area=order.target.area), agent, "", set())
            )
            if not addressed:
                continue
            assert (agent, order.command) not in known, f"{agent} in {area} would take it for a repetition"
            known.add((agent, order.command))
            for device in "xyz":
                if reaches(order.target, agent, device, carried[agent, device]):
                    heard[agent, device] = heard.get((agent, device), 0) + 1
    wanted = {key for key, tags in carried.items() if any(reaches(target, *key, tags) for target in targets)}
    assert heard == dict.fromkeys(wanted, 1)
    assert orders[0].command == BROADCAST
