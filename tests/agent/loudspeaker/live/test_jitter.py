from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from village_agent.loudspeaker.live.jitter import MAX_LAG, MIN_LAG, WAITED_LAG, JitterBuffer
from village_wire.live import FRAME_SECONDS, FRAMES_PER_PACKET

PACKET_SECONDS = FRAME_SECONDS * FRAMES_PER_PACKET


@dataclass
class Heard:
    """What a loudspeaker was given: each frame with its time, and the kinds of all turns."""

    frames: list[tuple[int, float]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    #: Lags of frames that were given out although newer packets had come.
    old: list[float] = field(default_factory=list)


Arrival = tuple[float, int, int]


def packets(count: int) -> list[tuple[float, int, int]]:
    """(time of sending, first frame, frames) of a speech of so many packets."""
    return [((n + 1) * PACKET_SECONDS, n * FRAMES_PER_PACKET, FRAMES_PER_PACKET) for n in range(count)]


def listen(
    arrivals: list[Arrival], end: int, *, start: float = 0.0, pace: float = FRAME_SECONDS
) -> tuple[JitterBuffer, Heard]:
    """Let a loudspeaker that takes a frame every `pace` seconds from `start` on hear all that arrives."""
    buffer, heard = JitterBuffer(), Heard()
    waiting = sorted(arrivals)
    last = waiting[-1][0] if waiting else 0.0
    turn = newest = 0
    while True:
        now = start + turn * pace
        turn += 1
        while waiting and waiting[0][0] <= now:
            when, number, count = waiting.pop(0)
            newest = max(newest, number)
            buffer.put(number, [place.to_bytes(4) for place in range(number, number + count)], when)
        if not waiting and now > last:
            buffer.end(end)
        taken = buffer.take(now)
        heard.kinds.append(taken.kind)
        heard.frames += [(int.from_bytes(frame), now) for frame in taken.frames]
        heard.lags.append(buffer.lag(now))
        if taken.frames and int.from_bytes(taken.frames[-1]) < newest:
            heard.old.append(buffer.lag(now))
        if taken.kind == "end":
            return buffer, heard
        assert now < last + 10, "it does not end"


def in_order(delays: list[float]) -> list[Arrival]:
    """Packets as TCP delivers them: none before those that were sent earlier."""
    found, before = [], 0.0
    for (sent, number, count), delay in zip(packets(len(delays)), delays, strict=True):
        before = max(before, sent + delay)
        found.append((before, number, count))
    return found


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
@settings(deadline=None)
def test_what_comes_in_order_is_heard_whole(delays: list[float]) -> None:
    end = len(delays) * FRAMES_PER_PACKET
    buffer, heard = listen(in_order(delays), end)
    # The buffer may not start before it has heard anything, and what is in order is never given up.
    assert [number for number, _ in heard.frames] == list(range(heard.frames[0][0], end))
    assert heard.frames[0][0] * FRAME_SECONDS <= 0.3 + PACKET_SECONDS
    assert (buffer.lost, buffer.skipped) == (0, 0)


@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.lists(st.booleans(), min_size=60, max_size=60),
    st.lists(st.booleans(), min_size=60, max_size=60),
    st.floats(0, 4),
    st.floats(0.018, 0.022),
)
@settings(deadline=None, max_examples=300)
def test_whatever_the_network_does(
    delays: list[float], kept: list[bool], twice: list[bool], start: float, pace: float
) -> None:
    """Reordered, lost, doubled, in bursts, joined late, with another clock: what is heard is in order, once, and not too late."""
    arrivals: list[Arrival] = []
    for (sent, number, count), delay, keep, again in zip(packets(len(delays)), delays, kept, twice, strict=False):
        if keep:
            arrivals.append((sent + delay, number, count))
            if again:
                arrivals.append((sent + delay + 0.1, number, count))
    end = len(delays) * FRAMES_PER_PACKET
    buffer, heard = listen(arrivals, end, start=start, pace=pace)
    numbers = [number for number, _ in heard.frames]
    assert numbers == sorted(set(numbers))
    came = {place for _, number, count in arrivals for place in range(number, number + count)}
    assert set(numbers) <= came
    if numbers:
        assert buffer.heard == len(numbers)
        assert buffer.heard + buffer.lost + buffer.skipped == end - numbers[0]
    assert all(lag <= MAX_LAG + 2 * FRAME_SECONDS for lag in heard.old)
    assert heard.kinds.count("gap") == buffer.filled


@given(st.lists(st.floats(0, 0.2), min_size=20, max_size=100))
@settings(deadline=None)
def test_what_comes_twice_changes_nothing(delays: list[float]) -> None:
    arrivals = in_order(delays)
    end = len(delays) * FRAMES_PER_PACKET
    doubled = arrivals + [(when + 0.011, number, count) for when, number, count in arrivals]
    assert listen(arrivals, end)[1].frames == listen(doubled, end)[1].frames


def test_who_joins_late_hears_what_is_said_now() -> None:
    arrivals = [(when + 0.05, number, count) for when, number, count in packets(500) if when > 5]
    buffer, heard = listen(arrivals, 1500, start=5.5)
    first, at = heard.frames[0]
    assert at > 5
    assert at - first * FRAME_SECONDS < 0.35
    assert buffer.lost == 0


def test_clocks_that_run_apart_cost_neither_words_nor_time() -> None:
    rng = random.Random(1)
    for drift in (-300e-6, 300e-6):
        arrivals = in_order([0.03 + rng.random() * 0.03 for _ in range(10_000)])
        buffer, heard = listen(arrivals, 30_000, pace=FRAME_SECONDS * (1 + drift))
        assert (buffer.lost, buffer.skipped) == (0, 0)
        # Ten minutes, so the clocks differ by 0.18 s.
        assert max(heard.lags[100:-10]) < MIN_LAG + 0.2
        assert buffer.squeezed + buffer.filled < 40


def test_a_late_packet_is_waited_for_and_the_time_made_good_again() -> None:
    delays = [0.02] * 1500
    delays[100] = 0.4
    buffer, heard = listen(in_order(delays), 4500)
    assert (buffer.lost, buffer.skipped) == (0, 0)
    assert 0.3 < max(heard.lags) < 0.5
    # The window of ten seconds has passed: the link is as good as before.
    assert heard.lags[-20] < MIN_LAG + 0.12


def test_a_long_cut_is_jumped_over() -> None:
    delays = [0.02] * 400
    delays[100] = 1.9
    buffer, heard = listen(in_order(delays), 1200)
    assert buffer.lost == 0
    assert 0.5 < buffer.skipped * FRAME_SECONDS < 1.9
    assert max(lag for lag, kind in zip(heard.lags, heard.kinds, strict=True) if kind == "frame") < MAX_LAG
    assert heard.kinds.count("gap") * FRAME_SECONDS < 2


def test_lost_frames_are_replaced_in_their_time() -> None:
    arrivals = [arrival for n, arrival in enumerate(in_order([0.02] * 300)) if n % 50 != 10]
    buffer, heard = listen(arrivals, 900)
    assert buffer.lost == 6 * FRAMES_PER_PACKET
    assert buffer.filled < 10
    assert max(heard.lags) < WAITED_LAG


def test_a_speaker_who_is_gone_is_heard_to_the_last_word() -> None:
    buffer = JitterBuffer()
    buffer.put(0, [b"a", b"b", b"c"], 0.06)
    assert buffer.take(0.06).kind == "before"
    buffer.cut()
    assert [buffer.take(0.1 + n * 0.02).kind for n in range(4)] == ["frame", "frame", "frame", "end"]
    assert JitterBuffer().take(5.0).kind == "before"
    silent = JitterBuffer()
    silent.cut()
    assert silent.take(5.0).kind == "end"
