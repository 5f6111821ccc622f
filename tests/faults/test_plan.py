"""The plan of faults: the same for the same seed, and complete in every round."""

from __future__ import annotations

from tests.faults.plan import LENGTHS, plan

PLACES = [
    ("kill broker", "broker"),
    ("kill agent", "lin"),
    ("cut link", "lin"),
    ("jump clock", "lin"),
    ("fill disk", "lin"),
]


def test_a_seed_makes_one_plan() -> None:
    assert plan(7, 100, 2, PLACES) == plan(7, 100, 2, PLACES)
    assert plan(7, 100, 2, PLACES) != plan(8, 100, 2, PLACES)


def test_every_fault_comes_in_the_first_round_and_ends_as_it_should() -> None:
    faults = plan(1, 40, 2, PLACES)
    assert {(fault.kind, fault.target) for fault in faults[: len(PLACES)]} == set(PLACES)
    assert all(fault.at < 40 for fault in faults)
    for fault in faults:
        shortest, longest = LENGTHS[fault.kind]
        assert shortest <= fault.seconds <= longest
        assert (fault.amount != 0) == (fault.kind == "jump clock")
