from __future__ import annotations

import pytest

from village_collector.live.overlap import Placed, overlap, topic_areas
from village_wire.commands import Target

COUNTY, VILLAGE, OTHER = "330110000000", "330110101205", "330110101206"


def area(code: str) -> Placed:
    return Placed(Target(area=code), code)


def agent(name: str, code: str, device: str | None = None) -> Placed:
    return Placed(Target(agent=name, device=device), code)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (area(COUNTY), area(VILLAGE), True),
        (area(VILLAGE), area(OTHER), False),
        (area(VILLAGE), area(VILLAGE), True),
        (area(VILLAGE), agent("a", VILLAGE), True),
        (area(OTHER), agent("a", VILLAGE), False),
        (agent("a", VILLAGE), agent("b", VILLAGE), False),
        (agent("a", VILLAGE), agent("a", VILLAGE, "horn"), True),
        (agent("a", VILLAGE, "horn"), agent("a", VILLAGE, "horn"), True),
        (agent("a", VILLAGE, "horn"), agent("a", VILLAGE, "siren"), False),
    ],
)
def test_who_would_sound_on_the_same_loudspeaker(one: Placed, other: Placed, meet: bool) -> None:
    assert overlap([one], [other]) is meet
    assert overlap([other], [one]) is meet


def test_a_voice_is_sent_once_to_each_area() -> None:
    assert topic_areas([area(VILLAGE), agent("a", VILLAGE), agent("b", OTHER)]) == [VILLAGE, OTHER]
    assert topic_areas([area(COUNTY), area(VILLAGE)]) == [COUNTY]
