"""The row about loudspeakers: that it measures what is there, on recordings made here, and for real with few starts."""

from __future__ import annotations

import array

import pytest

from tests.bench import loudspeaker
from tests.bench.rows import NotMeasured
from tests.bench.sound_match import RATE, find, last_sound, noise, onset, percentile
from tests.peers import peer
from tests.peers.pulseaudio import Tape

ORIGINAL, URGENT = noise(4.0, 2), noise(0.6, 3)


def silence(seconds: float) -> array.array[int]:
    return array.array("h", bytes(2 * int(seconds * RATE)))


def recording(stopped: float, resumed: float) -> array.array[int]:
    """The original up to a place, the emergency, and the original from another place on."""
    cut, again = int(stopped * RATE), int(resumed * RATE)
    return silence(0.5) + ORIGINAL[:cut] + silence(0.1) + URGENT + silence(0.2) + ORIGINAL[again:] + silence(0.3)


@pytest.mark.parametrize("error", [0.0, 0.05, -0.05, 0.3])
def test_where_a_sound_went_on_is_found_to_the_millisecond(error: float) -> None:
    samples = recording(2.0, 2.0 + error)
    first, found = loudspeaker.interruption(samples, 0, int(2.4 * RATE), ORIGINAL, URGENT)
    assert first == pytest.approx(2.6 * RATE, abs=2 * RATE // 500)
    assert found == pytest.approx(error, abs=0.001)


def test_what_is_not_heard_is_not_measured() -> None:
    samples = silence(0.5) + ORIGINAL + silence(1)
    with pytest.raises(NotMeasured, match="emergency is not in the recording"):
        loudspeaker.interruption(samples, 0, 2 * RATE, ORIGINAL, URGENT)
    samples = silence(0.5) + ORIGINAL[: 2 * RATE] + silence(0.1) + URGENT + silence(3)
    with pytest.raises(NotMeasured, match="not on both sides"):
        loudspeaker.interruption(samples, 0, 2 * RATE, ORIGINAL, URGENT)


@pytest.mark.parametrize("shift", [0, 1, 7, 2000])
def test_a_piece_is_found_to_the_sample(shift: int) -> None:
    samples = silence(0.2) + array.array("h", bytes(2 * shift)) + ORIGINAL[:RATE]
    place, likeness = find(ORIGINAL[: RATE // 5], samples, 0, RATE)
    assert place == pytest.approx(0.2 * RATE + shift, abs=1)
    assert likeness > 0.99
    first = onset(samples, 0, len(samples))
    assert first == pytest.approx(place, abs=RATE // 250)


def test_edges_of_silence() -> None:
    assert onset(silence(0.1), 0, 4800) is None
    assert last_sound(silence(0.1), 0, 4800) is None
    assert last_sound(ORIGINAL[:RATE] + silence(0.5), 0, RATE * 3 // 2) == pytest.approx(RATE, abs=RATE // 250)


def test_a_tape_knows_when_a_sample_was_played_whatever_the_delay_of_its_blocks() -> None:
    tape = Tape("horn")
    for number in range(100):
        late = 0.0 if number % 10 == 3 else 0.02
        tape.add(1000 + (number + 1) * 0.05 + late, bytes(2 * RATE // 20))
    assert tape.moment(2 * RATE) == pytest.approx(1002, abs=0.001)
    assert tape.since(1002.5) == pytest.approx(2.5 * RATE, abs=RATE // 10)
    assert tape.arrival(2 * RATE) >= 1002


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile(list(map(float, range(1, 101))), 99) == 99.0
    assert percentile([5.0], 99) == 5.0


@pytest.mark.timeout(180)
def test_the_row_is_measured_on_recorded_sound() -> None:
    for program in ("mosquitto", "pulseaudio", "parec", "ffmpeg", "snapserver", "snapclient"):
        peer(program)
    figures = loudspeaker.measure(2, 1, 30, True, lambda _: None, live=False)
    assert 0.0 < figures["preempt_s"] < 1.0
    assert abs(figures["resume_error_s"]) < 0.3
    for group in ("skew", "skew_bad_link", "snapcast"):
        assert figures[group]["heard"] == 16
        assert all(abs(error) < 0.1 for error in figures[group]["from_the_time_s"])
    # Two recordings of one sink agree, so what two sinks differ by is not the recorders'.
    assert figures["skew"]["recording_error_s"] < 0.005
    assert 0.0 < figures["skew_p50_s"] <= figures["skew_p99_s"] < 0.2
    assert figures["fanout"]["loudspeakers"] == 60
    assert 0.0 < figures["fanout"]["last_agent_has_it_s"] <= figures["fanout_1000_s"] < 30
    assert "live_latency_s" in figures
