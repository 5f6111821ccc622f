from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_agent.loudspeaker.evidence import judge_chime, judge_current, sustained
from village_agent.loudspeaker.heard_levels import MAX_KNOWN, HeardLevels, read_levels
from village_agent.loudspeaker.hearing import HEARD, Figures

AMPERES = st.floats(0, 50)
READINGS = st.lists(AMPERES, min_size=3, max_size=40)
RISE = st.floats(0.01, 10)


@given(READINGS, AMPERES)
def test_one_wrong_reading_never_decides(readings: list[float], wrong: float) -> None:
    most = sustained(readings)
    assert most is not None
    assert most <= max(readings)
    # An amplifier that draws the same all the time draws that, whatever the meter says once.
    steady = [readings[0]] * len(readings)
    for at in range(len(steady)):
        assert sustained([*steady[:at], wrong, *steady[at + 1 :]]) == readings[0]


@given(READINGS, st.one_of(st.none(), AMPERES), RISE)
def test_what_contradicts_has_never_shown_the_rise(readings: list[float], idle: float | None, rise: float) -> None:
    said = judge_current(idle, readings, rise)
    rose = [value >= (idle or 0.0) + rise for value in readings]
    if said.contradicts:
        assert not any(first and second for first, second in pairwise(rose))
    if all(rose):
        assert not said.contradicts
    if not any(rose):
        assert said.contradicts
    # More can't make it worse, and neither a live voice nor silence is held against it.
    assert not judge_current(idle, [*readings, 1000.0, 1000.0], rise).contradicts
    assert not judge_current(idle, readings, rise, may_be_silent=True).contradicts


@given(st.lists(AMPERES, max_size=2), st.one_of(st.none(), AMPERES), RISE)
def test_too_few_readings_contradict_nothing(readings: list[float], idle: float | None, rise: float) -> None:
    assert not judge_current(idle, [*readings, math.nan], rise).contradicts


def test_the_current_is_told_in_figures() -> None:
    drew = judge_current(0.05, [0.5, 0.82, 0.83, 0.8], 0.3)
    assert (drew.text, drew.contradicts) == ("amplifier drew 0.82 A, 0.05 A idle", False)
    dead = judge_current(0.0, [0.0] * 8, 0.3)
    assert (dead.text, dead.contradicts) == (
        "amplifier drew only 0.00 A, 0.00 A idle: a sound takes 0.3 A more",
        True,
    )
    assert judge_current(None, [0.0] * 8, 0.3).contradicts
    away = judge_current(None, [], 0.3, problem="no answer")
    assert (away.text, away.contradicts) == ("amplifier current not known: no answer", False)


def figures(**more: float | bool | None) -> Figures:
    return Figures(**{  # type: ignore[arg-type]
        "seconds": 3.0, "likeness": 0.1, "chime_db": -40.0, "recording_db": -50.0, "silent": False, "would_hear": None, **more,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("found", "usual", "contradicts", "words"),
    [
        (figures(likeness=0.8), None, False, "chime heard, -40 dB, likeness 0.80"),
        (figures(likeness=0.8), -38.0, False, "usually -38 dB"),
        (figures(would_hear=True), -38.0, True, "not heard though the microphone would hear it"),
        (figures(would_hear=False), -38.0, False, "too noisy to tell"),
        (figures(), None, False, "nor ever before"),
        (figures(silent=True, would_hear=False), -38.0, False, "hears nothing at all"),
        (figures(likeness=HEARD - 0.01, would_hear=True), -38.0, False, "too noisy to tell"),
        (None, None, False, "not listened to: gone"),
    ],
)
def test_only_a_chime_that_would_be_heard_is_missed(
    found: Figures | None, usual: float | None, contradicts: bool, words: str
) -> None:
    said = judge_chime(found, usual, "gone")
    assert said.contradicts is contradicts
    assert words in said.text


def test_usual_levels_survive_a_restart_and_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "levels"
    levels = HeardLevels(path)
    assert levels.usual("horn") is None
    levels.heard("horn", -40)
    levels.heard("horn", -36)
    assert HeardLevels(path).usual("horn") == -39
    for number in range(MAX_KNOWN):
        levels.heard(str(number), -30)
    assert levels.usual("horn") is None
    path.write_bytes(b'{"horn": true}')
    assert HeardLevels(path).usual("horn") is None
    HeardLevels(tmp_path / "absent" / "levels").heard("horn", -40)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "1"}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_file_of_levels_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_levels(content)
