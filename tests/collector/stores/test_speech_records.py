"""Who may speak where, and what becomes of voices, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.collector.kit import VILLAGE
from village_collector.live.overlap import Placed
from village_collector.stores.control import ControlStore
from village_collector.stores.speech_records import SpeechRecord
from village_wire.commands import Target

PATIENCE = timedelta(seconds=20)
SILENCE = timedelta(seconds=5)


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


def now() -> datetime:
    return datetime.now(UTC)


def voice(number: int = 1) -> SpeechRecord:
    targets = (Placed(Target(area=VILLAGE), VILLAGE), Placed(Target(agent="gate-1", device="hall"), VILLAGE))
    return SpeechRecord(f"0192aaaa-0000-7000-8000-{number:012}", "chief", "notice", "防汛", targets, "key")


def add(control: ControlStore, *voices: SpeechRecord, patience: timedelta = PATIENCE) -> None:
    for one in voices:
        control.add_speech(one, now(), patience, lambda _active: None)


def test_a_voice_is_read_as_it_was_kept(control: ControlStore) -> None:
    add(control, voice())
    assert control.speech(voice().broadcast) == voice()
    assert control.speech(voice(2).broadcast) is None


def test_who_checks_sees_all_that_are_not_over_and_a_refusal_keeps_nothing(control: ControlStore) -> None:
    add(control, voice(1), voice(2))
    control.withdraw_speech(voice(2).broadcast, "withdrawn", now())

    def refuse(active: Sequence[SpeechRecord]) -> None:
        assert list(active) == [voice(1)]
        raise PermissionError

    with pytest.raises(PermissionError):
        control.add_speech(voice(3), now(), PATIENCE, refuse)
    assert control.speech(voice(3).broadcast) is None


def test_only_who_announced_it_begins_and_only_once(control: ControlStore) -> None:
    add(control, voice())
    assert control.begin_speech(voice().broadcast, "other", "one", now()) is None
    with ThreadPoolExecutor(4) as pool:
        tries = [
            pool.submit(control.begin_speech, voice().broadcast, "chief", name, now()) for name in ("one", "two") * 4
        ]
        won = [found.collector for one in tries if (found := one.result()) is not None]
    assert len(won) == 1
    assert control.speech(voice().broadcast) == voice()._replace(collector=won[0])


def test_what_does_not_begin_in_time_is_over_and_breaks_nothing(control: ControlStore) -> None:
    add(control, voice(), patience=timedelta(seconds=-1))
    assert control.begin_speech(voice().broadcast, "chief", "one", now()) is None
    control.expect_speech(voice().broadcast, now(), PATIENCE)
    assert control.end_lost_speeches(now(), SILENCE, "broken off") == []
    control.expect_speech(voice().broadcast, now(), timedelta(seconds=-1))
    assert control.end_lost_speeches(now(), None, "broken off") == []
    found = control.speech(voice().broadcast)
    assert found is not None
    assert (found.reason, found.ended is None) == ("nobody spoke", False)


def test_a_collector_that_says_nothing_loses_its_voice_to_one_that_looks(control: ControlStore) -> None:
    add(control, voice(1), voice(2))
    for number, name in ((1, "one"), (2, "two")):
        assert control.begin_speech(voice(number).broadcast, "chief", name, now())
    assert control.end_lost_speeches(now(), SILENCE, "broken off") == []
    control.carry_speeches({voice(1).broadcast: 3.5, voice(2).broadcast: 9.0}, "one", now())
    assert control.end_lost_speeches(now(), None, "broken off") == []
    lost = [
        *control.end_lost_speeches(now(), timedelta(seconds=-1), "broken off"),
        *control.end_lost_speeches(now(), timedelta(seconds=-1), "broken off"),
    ]
    # Nobody says for another collector that it goes on.
    assert sorted((one.broadcast, one.seconds, one.reason) for one in lost) == [
        (voice(1).broadcast, 3.5, "broken off"),
        (voice(2).broadcast, 0.0, "broken off"),
    ]
    assert control.cuts([voice(1).broadcast]) == {voice(1).broadcast: "broken off"}
    # Who comes back can't bring it back.
    control.carry_speeches({voice(1).broadcast: 99.0}, "one", now())
    control.end_speech(voice(1).broadcast, "", 99.0, now())
    found = control.speech(voice(1).broadcast)
    assert found is not None
    assert (found.reason, found.seconds) == ("broken off", 3.5)


def test_cuts_reach_whoever_carries_it_and_the_first_reason_counts(control: ControlStore) -> None:
    add(control, voice(1), voice(2))
    assert control.begin_speech(voice(1).broadcast, "chief", "one", now())
    assert control.cuts([voice(1).broadcast, voice(2).broadcast]) == {}
    control.cut_speeches([voice(1).broadcast], "somebody speaks at class emergency")
    control.withdraw_speech(voice(1).broadcast, "withdrawn", now())
    assert control.cuts([voice(1).broadcast]) == {voice(1).broadcast: "somebody speaks at class emergency"}
    # One that was yet to begin is over with its withdrawal.
    control.withdraw_speech(voice(2).broadcast, "withdrawn", now())
    assert control.begin_speech(voice(2).broadcast, "chief", "one", now()) is None
    found = control.speech(voice(2).broadcast)
    assert found is not None
    assert found.reason == "withdrawn"


def test_a_collector_that_starts_again_ends_what_it_carried(control: ControlStore) -> None:
    add(control, voice(1), voice(2), voice(3))
    for number, name in ((1, "one"), (2, "two")):
        assert control.begin_speech(voice(number).broadcast, "chief", name, now())
    assert [one.broadcast for one in control.end_speeches_of("one", now(), "broken off")] == [voice(1).broadcast]
    assert control.end_speeches_of("one", now(), "broken off") == []


def test_voices_are_forgotten_with_their_broadcasts_once_they_are_over(control: ControlStore) -> None:
    add(control, voice(1), voice(2))
    control.end_speech(voice(1).broadcast, "", 1.0, now())
    control.forget_speeches()
    assert control.speech(voice(1).broadcast) is None
    assert control.speech(voice(2).broadcast) is not None


def test_a_recording_is_read_as_far_as_it_is_here_and_forgotten_with_its_broadcast(control: ControlStore) -> None:
    name = voice().broadcast
    assert control.recorded_bytes(name) == 0
    for part in (b"OggS", b"abc", b"de"):
        control.add_recorded(name, control.recorded_bytes(name), part)
    assert b"".join(control.recorded(name)) == b"OggSabcde"
    assert list(control.recorded("another")) == []
    control.forget_recorded()
    assert control.recorded_bytes(name) == 0
