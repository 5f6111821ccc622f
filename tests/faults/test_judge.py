"""The comparison must fail where something is lost, doubled, late or misdated: each breach is made by hand, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.judge import Kind, judge
from tests.faults.produced import Card, Order, Produced, Served
from tests.faults.stored import StoreCopy, StoredCommand, StoredEvent

NOW = 1_800_000_000.0
COMMAND = "0190a000-0000-7000-8000-000000000001"
PLACE = ("lin", "relay-1")


def result(event: str, outcome: str, reason: str = "") -> StoredEvent:
    data = {"command": COMMAND, "outcome": outcome, "reason": reason}
    return StoredEvent(event, *PLACE, "command_result", NOW, data)


def village() -> tuple[Produced, StoreCopy]:
    """A run in which all is well: two cards, three readings of which a kill took the last, one command."""
    produced = Produced(
        cards=[
            Card(1, "lin", "gate", known=True, presented=NOW, lock=NOW + 0.1, light=NOW + 0.2),
            Card(2, "lin", "gate", known=False, presented=NOW + 2),
        ],
        orders=[Order(1, "switch", "coil 1 on", NOW, 5.0, 202, [(*PLACE, NOW + 0.3)])],
        served=[Served("lin", 1, NOW), Served("lin", 2, NOW + 0.2), Served("lin", 3, NOW + 9.5)],
    )
    produced.kills["lin"].append(NOW + 10)
    produced.durable_events["lin"].add("e1")
    produced.durable_numbers["lin"].add(2)
    access = {"credential": "32:00000001", "outcome": "granted", "reason": "known_card"}
    stored = StoreCopy(
        events=[
            StoredEvent("e1", "lin", "gate", "door_access", NOW + 0.1, access),
            result("e2", "accepted"),
            result("e3", "done"),
        ],
        commands=[StoredCommand(COMMAND, 1, NOW + 5)],
        outcomes={(COMMAND, *PLACE): "done"},
        samples=[("lin", 1, NOW), ("lin", 2, NOW + 0.2)],
    )
    return produced, stored


def test_nothing_is_found_where_all_is_well() -> None:
    verdict = judge(*village())
    assert verdict.findings == []
    assert verdict.counts["readings unwritten at a kill"] == 1
    assert verdict.counts["cards acted on"] == 1


def lose_a_record(_: Produced, stored: StoreCopy) -> None:
    del stored.events[0]


def lose_the_record_of_a_card_that_was_in_memory(produced: Produced, stored: StoreCopy) -> None:
    produced.durable_events.clear()
    del stored.events[0]


def double_a_record(_: Produced, stored: StoreCopy) -> None:
    stored.events.append(replace(stored.events[0], id="e9"))


def double_an_event(_: Produced, stored: StoreCopy) -> None:
    stored.events.append(stored.events[1])


def date_a_record_a_minute_late(_: Produced, stored: StoreCopy) -> None:
    stored.events[0] = replace(stored.events[0], time=NOW + 60)


def record_another_decision(_: Produced, stored: StoreCopy) -> None:
    stored.events[0].data["outcome"] = "denied"


def record_a_card_that_nobody_held(_: Produced, stored: StoreCopy) -> None:
    stored.events.append(
        replace(stored.events[0], id="e9", data={"credential": "32:00000099", "outcome": "denied", "reason": ""})
    )


def release_for_a_stranger(produced: Produced, _: StoreCopy) -> None:
    produced.cards[1].lock = NOW + 2.1


def lose_a_reading(_: Produced, stored: StoreCopy) -> None:
    del stored.samples[0]


def lose_a_reading_that_was_on_disk(produced: Produced, stored: StoreCopy) -> None:
    produced.kills["lin"].append(NOW + 0.3)
    del stored.samples[1]


def double_a_reading(_: Produced, stored: StoreCopy) -> None:
    stored.samples.append(("lin", 1, NOW + 1))


def date_a_reading_a_year_late(_: Produced, stored: StoreCopy) -> None:
    stored.samples[0] = ("lin", 1, NOW + 365 * 86400)


def store_a_reading_that_nobody_gave(_: Produced, stored: StoreCopy) -> None:
    stored.samples.append(("lin", 99, NOW))


def execute_twice(produced: Produced, _: StoreCopy) -> None:
    produced.orders[0].executions.append((*PLACE, NOW + 0.5))


def execute_late(produced: Produced, _: StoreCopy) -> None:
    produced.orders[0].executions[0] = (*PLACE, NOW + 8)


def execute_nothing(produced: Produced, _: StoreCopy) -> None:
    produced.orders[0].executions.clear()


def execute_what_was_refused(_: Produced, stored: StoreCopy) -> None:
    stored.events[1:] = [result("e3", "refused", "expired")]
    stored.outcomes[COMMAND, *PLACE] = "refused"


def execute_without_a_result(_: Produced, stored: StoreCopy) -> None:
    del stored.events[1:]


def leave_a_command_open(_: Produced, stored: StoreCopy) -> None:
    del stored.events[2]


def answer_twice(_: Produced, stored: StoreCopy) -> None:
    stored.events.append(result("e4", "failed"))


def show_another_result(_: Produced, stored: StoreCopy) -> None:
    stored.outcomes[COMMAND, *PLACE] = "accepted"


def do_what_nobody_asked(produced: Produced, _: StoreCopy) -> None:
    produced.ghosts.append("lin/gate: unlock 9.9 s")


@pytest.mark.parametrize(
    ("breach", "kind"),
    [
        (lose_a_record, "lost"),
        (lose_the_record_of_a_card_that_was_in_memory, "lost"),
        (double_a_record, "doubled"),
        (double_an_event, "doubled"),
        (date_a_record_a_minute_late, "misdated"),
        (record_another_decision, "wrong"),
        (record_a_card_that_nobody_held, "wrong"),
        (release_for_a_stranger, "wrong"),
        (lose_a_reading, "lost"),
        (lose_a_reading_that_was_on_disk, "lost"),
        (double_a_reading, "doubled"),
        (date_a_reading_a_year_late, "misdated"),
        (store_a_reading_that_nobody_gave, "wrong"),
        (execute_twice, "doubled"),
        (execute_late, "late"),
        (execute_nothing, "wrong"),
        (execute_what_was_refused, "wrong"),
        (execute_without_a_result, "lost"),
        (leave_a_command_open, "unanswered"),
        (answer_twice, "doubled"),
        (show_another_result, "wrong"),
        (do_what_nobody_asked, "doubled"),
    ],
)
def test_each_breach_is_found(breach: Callable[[Produced, StoreCopy], None], kind: Kind) -> None:
    produced, stored = village()
    breach(produced, stored)
    assert kind in {found for found, _ in judge(produced, stored).findings}


def test_the_ledger_answers_for_readings_and_for_no_more_than_it_counts() -> None:
    produced, stored = village()
    stored.samples.clear()
    produced.durable_numbers.clear()
    stored.ledger["lin"] = 1
    assert [kind for kind, _ in judge(produced, stored).findings] == ["lost"]
    stored.ledger["lin"] = 2
    assert judge(produced, stored).findings == []


def test_an_unknown_outcome_may_have_happened_or_not() -> None:
    for executed in (True, False):
        produced, stored = village()
        stored.events[2] = result("e3", "failed", "unknown outcome: the agent restarted while executing")
        stored.outcomes[COMMAND, *PLACE] = "failed"
        if not executed:
            produced.orders[0].executions.clear()
        verdict = judge(produced, stored)
        assert verdict.findings == []
        assert verdict.counts["results unknown outcome"] == 1
