"""Receipts come in any order, more than once, and of whom nobody asked; what is known in the end is the same."""

from __future__ import annotations

import random
import time
from datetime import datetime
from itertools import permutations
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE, add_site, at, batch, entry, event, result, settle
from village_collector.ports import ReceivedEvents
from village_collector.stores.broadcast_reads import ReceiptRecord, Tally
from village_collector.stores.broadcast_records import Nobody
from village_collector.stores.control import ControlStore
from village_collector.stores.receipt_merging import MAX_OTHERS, Standing, group_of
from village_wire.broadcasts import FINAL, Stage
from village_wire.commands import Target
from village_wire.events import Event, Receipt
from village_wire.ids import uuid7

BROADCAST = UUID("019a5f3e-7c00-7abc-8def-0123456789ab")
ARGUMENTS = {"kind": "broadcast", "rank": "notice", "text": "大家好", "times": 1}
SPEAKER = entry("speaker", "loudspeaker", name="村口")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> ControlStore:
    found: ControlStore = request.getfixturevalue(f"{request.param}_control")
    return found


def issue(store: ControlStore, *targets: Target, end: datetime | None = None, broadcast: UUID = BROADCAST) -> list[str]:
    orders = store.add_broadcast(
        broadcast,
        T0,
        "chief",
        ARGUMENTS,
        targets,
        start=None,
        end=end or at(600),
        lasts=10.0,
        new_id=lambda: uuid7(1),
    )
    return [str(order.command) for order in orders]


def receipt(
    stage: Stage,
    seconds: float = 0,
    *,
    device: str = "speaker",
    broadcast: UUID | str = BROADCAST,
    reason: str = "",
    play: int | None = None,
    position: float | None = None,
    overrode: bool | None = None,
) -> Event:
    data = Receipt(
        broadcast=UUID(str(broadcast)), stage=stage, reason=reason, play=play, position=position, overrode=overrode
    )
    return event(data, device, time=at(seconds))


def tally(store: ControlStore, broadcast: UUID = BROADCAST) -> Tally:
    found = store.broadcast_tally(str(broadcast))
    assert found is not None
    return found


def rows(store: ControlStore) -> dict[str, ReceiptRecord]:
    return {f"{row.agent}/{row.device}": row for row in store.broadcast_receipts(str(BROADCAST))[0]}


def test_a_receipt_says_where_the_broadcast_is(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER)
    issue(store, Target(area=TOWNSHIP))
    assert rows(store)["gate-1/speaker"].stage is None
    store.store_events([batch("gate-1", receipt("queued", 1), receipt("started", 2, play=1))])
    assert tally(store)[:4] == (1, 0, 1, 0)
    store.store_events([batch("gate-1", receipt("finished", 12, play=1))])
    found = rows(store)["gate-1/speaker"]
    assert (found.stage, found.started, found.time, found.play, found.name) == ("finished", at(2), at(12), 1, "村口")
    assert tally(store)[:5] == (1, 1, 0, 0, 2)


def test_every_order_of_arrival_ends_alike(store: ControlStore) -> None:
    told = [
        receipt("queued", 1),
        receipt("started", 2, play=1, overrode=True),
        receipt("preempted", 5, play=1, position=3.0, reason="an emergency"),
    ]
    add_site(store, "gate-1", SPEAKER)
    seen = set()
    for number, order in enumerate(permutations(told)):
        mine = UUID(int=number + 1)
        issue(store, Target(agent="gate-1"), broadcast=mine)
        for one in order:
            data = one.data.model_copy(update={"broadcast": mine})
            # Twice, each with a new id: as after events were purged here and delivered again.
            for _ in range(2):
                store.store_events([batch("gate-1", event(data, "speaker", time=one.time))])
        (found,) = store.broadcast_receipts(str(mine))[0]
        seen.add((found, tally(store, mine)[:4]))
    assert len(seen) == 1
    ((last, counts),) = seen
    assert (last.stage, last.started, last.position, last.overrode) == ("preempted", at(2), 3.0, True)
    assert counts == (1, 0, 0, 1)


_STAGES = st.sampled_from(get_args(Stage))
_EVENTS = st.lists(
    st.builds(
        lambda stage, seconds, play, overrode: receipt(stage, seconds, play=play, overrode=overrode),
        _STAGES,
        st.integers(0, 4),
        st.integers(1, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=7,
)


@given(_EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(told: list[Event], chance: random.Random) -> None:
    ends = []
    for _ in range(3):
        standing = Standing(expected=True)
        for one in told:
            assert isinstance(one.data, Receipt)
            standing.take(one, one.data)
        ends.append(standing)
        told = [*told, chance.choice(told)]
        chance.shuffle(told)
    assert ends[0] == ends[1] == ends[2]
    # What has ended stays so, and what has begun is not queued any more.
    stages = {one.data.stage for one in told if isinstance(one.data, Receipt)}
    if stages & FINAL:
        assert ends[0].stage in FINAL
    elif stages & {"started", "paused", "resumed"}:
        assert group_of(ends[0].stage) == "sounding"


def test_who_was_ready_may_have_to_wait_again(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER)
    issue(store, Target(agent="gate-1"))
    told = [receipt("queued", 1), receipt("ready", 2), receipt("queued", 3, reason="alert goes first")]
    for one in reversed(told):
        store.store_events([batch("gate-1", one)])
    found = rows(store)["gate-1/speaker"]
    assert (found.stage, found.reason) == ("queued", "alert goes first")
    store.store_events([batch("gate-1", receipt("ready", 4))])
    assert rows(store)["gate-1/speaker"].stage == "ready"
    assert tally(store)[:4] == (1, 0, 0, 0)


def test_a_refusal_counts_until_a_receipt_comes(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER, entry("hall", "loudspeaker"))
    issue(store, Target(agent="gate-1"))
    store.store_events([batch("gate-1", result(BROADCAST, "refused", None, reason="expired", time=at(9)))])
    assert {key: (row.stage, row.reason) for key, row in rows(store).items()} == {
        "gate-1/speaker": ("refused", "expired"),
        "gate-1/hall": ("refused", "expired"),
    }
    assert tally(store)[:4] == (2, 0, 0, 2)
    store.store_events([batch("gate-1", receipt("queued", 1))])
    assert rows(store)["gate-1/speaker"].stage == "queued"
    assert tally(store)[:4] == (2, 0, 0, 1)
    store.store_events([batch("gate-1", result(BROADCAST, "done", "hall", time=at(10)))])
    assert rows(store)["gate-1/hall"].stage == "refused"


def test_a_command_whose_outcome_nobody_knows_fails_its_loudspeaker_in_any_order(store: ControlStore) -> None:
    unknown = "unknown outcome: the agent restarted while executing"
    add_site(store, "gate-1", SPEAKER, entry("hall", "loudspeaker"), entry("horn", "track_player"))
    told = [
        result(BROADCAST, "accepted", "speaker", time=at(1)),
        result(BROADCAST, "failed", "speaker", reason=unknown, time=at(9)),
        result(BROADCAST, "failed", "hall", reason=unknown, time=at(9)),
        # Queued by what went on before the kill: a receipt of its own says more than the command's end.
        receipt("queued", 2, device="hall"),
        receipt("finished", 8, device="hall"),
        result(BROADCAST, "refused", None, reason="clock unsure", time=at(5)),
    ]
    whole: list[ReceivedEvents] = []
    apart: list[list[ReceivedEvents]] = [[] for _ in told]
    broadcasts = []
    for number, order in enumerate(permutations(told)):
        mine = UUID(int=number + 1)
        broadcasts.append(mine)
        issue(store, Target(agent="gate-1"), broadcast=mine)
        news = []
        for one in order:
            name = "broadcast" if isinstance(one.data, Receipt) else "command"
            news.append(event(one.data.model_copy(update={name: mine}), one.device, time=one.time))
        # In one transaction or in several, each of them with the same step of all orders.
        if number % 2:
            whole.append(batch("gate-1", *news))
        else:
            for step, one in zip(apart, news, strict=True):
                step.append(batch("gate-1", one))
    for step in (whole, *apart):
        store.store_events(step)
    ends = set()
    for mine in broadcasts:
        found = {row.device: (row.stage, row.reason) for row in store.broadcast_receipts(str(mine))[0]}
        ends.add((*sorted(found.items()), tally(store, mine)[:4]))
    assert ends == {
        (
            ("hall", ("finished", "")),
            ("horn", ("refused", "clock unsure")),
            ("speaker", ("refused", unknown)),
            (3, 1, 0, 2),
        )
    }


def test_what_only_plays_tracks_of_its_card_is_expected_too(store: ControlStore) -> None:
    add_site(store, "gate-1", entry("horn", "track_player"), entry("gate", "door"))
    issue(store, Target(area=TOWNSHIP))
    assert list(rows(store)) == ["gate-1/horn"]
    assert store.loudspeaker_areas() == frozenset({VILLAGE})
    assert store.loudspeakers_by_area(None, None) == {VILLAGE: {("gate-1", "horn")}}
    with pytest.raises(Nobody):
        issue(store, Target(agent="gate-1", device="gate"), broadcast=UUID(int=9))


def test_two_devices_of_one_agent_have_a_command_each(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER, entry("hall", "loudspeaker"), entry("roof", "loudspeaker"))
    commands = issue(store, Target(agent="gate-1", device="speaker"), Target(agent="gate-1", device="hall"))
    assert commands[0] == str(BROADCAST)
    assert len(set(commands)) == 2
    store.store_events([batch("gate-1", receipt("finished", device="hall", broadcast=commands[1]))])
    store.store_events([batch("gate-1", result(commands[0], "refused", None, reason="no"))])
    assert {key: row.stage for key, row in rows(store).items()} == {
        "gate-1/speaker": "refused",
        "gate-1/hall": "finished",
    }


def test_targets_within_one_another_mean_each_loudspeaker_once(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER)
    add_site(store, "gate-2", SPEAKER, area=OTHER)
    targets = (
        Target(agent="gate-1", device="speaker"),
        Target(area=VILLAGE),
        Target(area=TOWNSHIP),
        Target(agent="gate-1"),
        Target(area=TOWNSHIP),
        Target(agent="gate-2"),
    )
    assert issue(store, *targets) == [str(BROADCAST), str(BROADCAST)]
    found = store.broadcast(str(BROADCAST))
    assert found is not None
    assert [sent.target for sent in found.targets] == [Target(area=TOWNSHIP), Target(agent="gate-2")]
    assert (tally(store).expected, len(rows(store))) == (2, 2)


def test_nothing_is_kept_of_a_broadcast_with_a_target_that_nobody_can_hear(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER)
    add_site(store, "gate-2", entry("camera", "camera"))
    with pytest.raises(Nobody) as caught:
        issue(store, Target(agent="gate-1"), Target(agent="gate-2"))
    assert caught.value.target == Target(agent="gate-2")
    assert store.broadcast(str(BROADCAST)) is None
    assert rows(store) == {}


def test_an_agent_speaks_for_itself_only_and_not_without_end(store: ControlStore) -> None:
    add_site(store, "gate-1", SPEAKER)
    add_site(store, "gate-2", SPEAKER, area=OTHER)
    issue(store, Target(agent="gate-1"))
    others = [receipt("finished", device=f"d{number}") for number in range(MAX_OTHERS + 20)]
    store.store_events([batch("gate-2", receipt("finished"), *others)])
    assert tally(store)[:4] == (1, 0, 0, 0)
    assert rows(store)["gate-1/speaker"].stage is None
    assert not rows(store)["gate-2/speaker"].expected
    assert len(rows(store)) == 1 + MAX_OTHERS
    store.store_events([batch("gate-2", receipt("finished", broadcast=UUID(int=9)))])


def test_the_receipts_of_a_county_in_one_batch(store: ControlStore) -> None:
    number = 10_000
    names = [f"agent-{index}" for index in range(number)]
    settle(store, dict.fromkeys(names, VILLAGE), SPEAKER)
    started = time.perf_counter()
    issue(store, Target(area=TOWNSHIP))
    issued = time.perf_counter() - started
    batches = [ReceivedEvents(name, T0, [receipt("finished", 5)]) for name in names]
    started = time.perf_counter()
    store.store_events(batches)
    stored = time.perf_counter() - started
    found, _ = store.broadcast_receipts(str(BROADCAST))
    assert tally(store)[:4] == (number, number, 0, 0)
    assert len(found) == number
    # Measured: 0.02 s and 0.7 s on SQLite, 0.06 s and 2.1 s on PostgreSQL.
    assert issued < 3
    assert stored < 15
