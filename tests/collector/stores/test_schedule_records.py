"""Schedules and sums of publicity."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE, add_site, at, batch, event
from village_collector.stores.control import ControlStore
from village_collector.stores.publicity_records import Heard
from village_wire.broadcasts import Stage
from village_wire.commands import Target
from village_wire.events import Event, Receipt
from village_wire.recurrence import Recurrence
from village_wire.schedules import Item, Programme

AREA = Target(area=VILLAGE)
NUMBER = int(T0.timestamp())


def programme(identity: str = "morning") -> Programme:
    when = Recurrence(start=datetime(2026, 11, 24, 6, 30), rule="FREQ=DAILY")
    return Programme(id=identity, title="早间", when=when, items=(Item(text="早上好"),))


def test_a_number_is_the_time_and_grows_even_if_the_clock_does_not(control: ControlStore) -> None:
    assert control.schedules() == []
    first = control.change_schedule(AREA, lambda _: [programme()], T0, "wang")
    assert (first.schedule.number, first.by) == (NUMBER, "wang")
    second = control.change_schedule(AREA, lambda before: [*before, programme("evening")], at(-3600), "li")
    assert second.schedule.number == NUMBER + 1
    assert [one.id for one in second.schedule.programmes] == ["morning", "evening"]
    third = control.change_schedule(AREA, lambda _: [], at(50), "li")
    assert third.schedule.number == NUMBER + 50
    assert control.schedules() == [third]
    assert control.schedules_revision() == 3


def test_what_may_not_be_leaves_all_as_it_was(control: ControlStore) -> None:
    before = control.change_schedule(AREA, lambda _: [programme()], T0, "wang")
    with pytest.raises(ValueError, match="same id"):
        control.change_schedule(AREA, lambda _: [programme(), programme()], at(1), "wang")
    assert control.schedules() == [before]


def test_whom_a_change_concerns(control: ControlStore) -> None:
    add_site(control, "lin")
    add_site(control, "shan", area=f"{VILLAGE}-g01")
    add_site(control, "far", area=OTHER)
    add_site(control, "gone", online=False)
    assert control.connected_in(AREA) == ["lin", "shan"]
    assert control.connected_in(Target(area=TOWNSHIP)) == ["lin", "shan"]
    assert control.connected_in(Target(agent="far", device="speaker")) == ["far"]
    assert control.areas_of_agents(["lin", "shan", "nobody"]) == {"lin": VILLAGE, "shan": f"{VILLAGE}-g01"}
    assert control.has_loudspeaker(AREA)
    assert control.has_loudspeaker(Target(agent="lin", device="speaker"))
    assert not control.has_loudspeaker(Target(agent="lin", device="reader"))
    assert not control.has_loudspeaker(Target(area="110000000000"))


def receipt(
    seconds: float | None, *, stage: Stage = "finished", time: datetime = T0, category: str | None = "law", device: str = "speaker", identity: UUID | None = None
) -> Event:  # fmt: skip
    data = Receipt.model_validate({"broadcast": uuid4(), "stage": stage, "heard": seconds, "category": category})
    return event(data, device, time=time, identity=identity)


def test_only_last_receipts_of_a_category_count_and_each_once(control: ControlStore) -> None:
    add_site(control, "lin")
    twice = receipt(60.5, identity=uuid4())
    control.store_events([batch("lin", twice, receipt(30, stage="preempted"), receipt(9, stage="paused"))])
    control.store_events([batch("lin", twice, receipt(1, category=None), receipt(None, stage="skipped"), receipt(5, category="fire"))])  # fmt: skip
    assert control.publicity("2026-11", None, None) == [
        Heard(VILLAGE, "lin", "speaker", "fire", 5.0, 1),
        Heard(VILLAGE, "lin", "speaker", "law", 90.5, 2),
    ]
    assert control.publicity("2026-11", OTHER, None) == []
    assert control.publicity("2026-11", None, (OTHER,)) == []
    assert control.publicity("2026-11", None, ()) == []
    assert len(control.publicity("2026-11", TOWNSHIP, (TOWNSHIP,))) == 2


def test_a_month_begins_at_midnight_in_china(control: ControlStore) -> None:
    add_site(control, "lin")
    last, first = datetime(2026, 11, 30, 15, 59, 59, tzinfo=UTC), datetime(2026, 11, 30, 16, 0, tzinfo=UTC)
    control.store_events([batch("lin", receipt(1, time=last), receipt(2, time=first))])
    assert [one.seconds for one in control.publicity("2026-11", None, None)] == [1]
    assert [one.seconds for one in control.publicity("2026-12", None, None)] == [2]
    assert control.publicity_months() == ["2026-12", "2026-11"]


def test_loudspeakers_are_those_of_the_inventory(control: ControlStore) -> None:
    add_site(control, "lin")
    add_site(control, "shan", area=OTHER)
    assert control.loudspeakers_by_area(None, None) == {VILLAGE: {("lin", "speaker")}, OTHER: {("shan", "speaker")}}
    assert control.loudspeakers_by_area(VILLAGE, None) == {VILLAGE: {("lin", "speaker")}}
    assert control.loudspeakers_by_area(None, (OTHER,)) == {OTHER: {("shan", "speaker")}}
