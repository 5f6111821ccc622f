"""What players say, and when they take more, told as they do it."""

from __future__ import annotations

import time

import pytest

from village_drivers.sound.pcm import BYTES_PER_SECOND
from village_drivers.sound.pulse_device import PulseDevice
from village_drivers.sound.timing import CardTiming, PulseTiming


def test_pulseaudio_tells_how_much_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    told = PulseTiming(PulseDevice("horn"))
    assert told.hear(b"Connection established.\x1b[K\nStream started.\x1b[K\n") == b""
    for step in range(1, 8):
        assert told.origin is None or step > 6
        now = 100.0 + step * 0.05
        # Every third is late, as on a busy machine.
        late = 0.03 if step % 3 == 0 else 0.0
        assert told.hear(b"Time: %.3f sec; Latency: 166298 usec.        \r" % (step * 0.05 - late)) == b""
    assert told.origin == pytest.approx(100.0, abs=0.001)


def test_after_a_gap_nothing_counts_as_heard_that_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    told = PulseTiming(PulseDevice("horn"))
    gap = 0.0
    for step in range(1, 30):
        now = 100.0 + step * 0.05
        gap = 0.4 if step > 20 else 0.0
        if gap and told.heard_from is not None and step > 21:
            assert told.heard_from == pytest.approx(100.4, abs=0.001)
        told.hear(b"Time: %.3f sec; Latency: 166298 usec.        \r" % (step * 0.05 - gap))
    assert told.heard_from == pytest.approx(100.4, abs=0.001)
    assert CardTiming(0.2).heard_from is None


def test_complaints_are_told_and_nothing_else() -> None:
    told = PulseTiming(PulseDevice("horn"))
    assert told.hear(b"Stream successfully created.\nStream err") == b""
    assert told.hear(b"or: No such entity\n") == b"Stream error: No such entity\n"
    card = CardTiming(0.2)
    assert card.hear(b"Its setup is:\naplay: main:850: audio open error: No such file\n").startswith(b"aplay: main")


def test_a_card_takes_a_period_when_one_has_been_heard() -> None:
    card = CardTiming(0.2)
    card.hear(b"Plug PCM\nIts setup is:\n  buffer_size  : 4800\n  period_size  : 1200\n  period_time  : 25000\n")
    card.hear(b"Slave: Hardware PCM\nIts setup is:\n  buffer_size  : 9999\n  period_size  : 3333\n")
    period, buffer = 2400, 9600
    # It reads pieces of the pipe that are no periods: some of the next one lie in its hands.
    for number in range(1, 12):
        card.took(50.0 + number * period / BYTES_PER_SECOND, buffer + number * period + 1000)
        assert (card.origin is None) == (number < 5)
    assert card.origin == pytest.approx(50.0, abs=0.001)


def test_what_fills_the_buffer_says_nothing() -> None:
    card = CardTiming(0.2)
    for _ in range(20):
        card.took(1.0, 10_000)
    assert card.origin is None
