"""Row `loudspeaker`: how soon an emergency is heard, how exactly a sound goes on, how well loudspeakers begin together.

Two real agents play into eight PulseAudio sinks, whose monitors are recorded by one process on one clock; what is heard is found in the
recordings by correlation with the file. Commands go the whole way: API, collector, mosquitto, agent, player. How well boxes begin
together depends on how well they know the time, so that is measured over a bad link too.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench.bad_link import bad_link
from tests.bench.loudspeaker_fanout import fanout
from tests.bench.loudspeaker_site import AREA, LAN, Caller, agents, commands, decoded, lan, wall
from tests.bench.rig import UNLIMITED, collector
from tests.bench.rows import NotMeasured, Say
from tests.bench.sound_match import RATE, find, last_sound, onset, percentile
from tests.peers.mosquitto import Mosquitto
from tests.peers.pulseaudio import PulseAudio, Tape

OUTPUTS = {"east": [f"horn{n}" for n in range(4)], "west": [f"horn{n}" for n in range(4, 8)]}
SINKS = [sink for sinks in OUTPUTS.values() for sink in sinks]
#: A broadcast is issued so long before its start.
_AHEAD_SECONDS = 3.0
#: So much of a sound is looked for, and so like it must be there.
_PIECE, _LIKE = RATE // 5, 0.8
#: An emergency is heard within so many samples, and a file goes on so many samples from where it stopped, or the figure is of no interest.
_SOON, _NEAR = 3 * RATE, RATE // 2
_EDGE = RATE // 50
_LONG, _URGENT, _SHORT = 8.0, 1.0, 0.6


def run(quick: bool, say: Say) -> dict[str, Any]:
    """Return the figures; one that could not be measured is None, and `missing` says why."""
    return measure(3 if quick else 25, 2 if quick else 10, 1_000, quick, say)


def measure(
    starts: int, preemptions: int, simulated: int, quick: bool, say: Say, *, live: bool = True
) -> dict[str, Any]:
    """Measure so many starts, so many emergencies, and one broadcast to so many simulated agents."""
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="village-bench-") as folder:
        result = asyncio.run(_heard(Path(folder), starts, preemptions, missing, say))
    fan = asyncio.run(fanout(simulated, say))
    voice = _voice(quick, say, missing) if live else {}
    skew, together = result["skew"], result["preemption"]
    return {
        "preempt_s": together["preempt_worst_s"],
        "resume_error_s": together["resume_error_worst_s"],
        "skew_p50_s": skew["p50_s"],
        "skew_p99_s": skew["p99_s"],
        "live_latency_s": voice.get("live_latency_s"),
        "fanout_1000_s": fan["seconds"],
        **result,
        "fanout": fan,
        "live": voice,
        "missing": missing,
    }


def _voice(quick: bool, say: Say, missing: dict[str, str]) -> dict[str, Any]:
    from tests.bench.live import live_latency

    try:
        return live_latency(quick, say)
    except (NotMeasured, pytest.skip.Exception, pytest.fail.Exception) as reason:
        missing["live_latency_s"] = str(reason)
        return {}


async def _heard(folder: Path, starts: int, preemptions: int, missing: dict[str, str], say: Say) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        pulse = await stack.enter_async_context(PulseAudio(folder / "pulse", SINKS))
        broker = await stack.enter_async_context(Mosquitto(folder, UNLIMITED))
        running = await stack.enter_async_context(collector(folder / "collector", broker.url))
        caller = Caller(await stack.enter_async_context(running.client()))
        seen = stack.enter_context(commands(broker.port))
        # The first sink twice: what two recordings of the same sound differ by is the error of recording.
        tapes = stack.enter_context(pulse.recording([*SINKS, SINKS[0]]))
        async with agents(folder / "near", pulse, broker.url, running, OUTPUTS):
            say("the agents' loudspeakers are ok")
            found = {
                "skew": await _skew(folder, caller, {"area": AREA}, tapes, starts, say),
                "preemption": await _preemption(folder, caller, tapes[0], seen, preemptions, say),
            }
        async with (
            bad_link(broker.port) as port,
            agents(folder / "far", pulse, f"mqtt://127.0.0.1:{port}", running, OUTPUTS),
        ):
            found["skew_bad_link"] = await _skew(folder, caller, {"area": AREA}, tapes, starts, say)
        try:
            await stack.enter_async_context(lan(folder / "lan", pulse, broker.url, running))
            found["snapcast"] = await _skew(folder / "lan", caller, {"agent": LAN}, tapes, starts, say)
        except (NotMeasured, pytest.skip.Exception, pytest.fail.Exception) as reason:
            missing["snapcast"] = str(reason)
        return found


async def _skew(
    folder: Path, caller: Caller, target: Mapping[str, str], tapes: Sequence[Tape], starts: int, say: Say
) -> dict[str, Any]:
    """Let all begin at a given time, again and again; return by how much the first and the last differ, and from the time."""
    audio = await caller.upload(folder, _SHORT, 1)
    skews, errors, recorders, heard = [], [], [], 0
    for _ in range(starts):
        at = time.monotonic() + _AHEAD_SECONDS + random.random()
        broadcast = await caller.issue(target, audio, start=wall(at))
        await caller.over(broadcast)
        await asyncio.sleep(0.3)
        piece, before = _head(decoded(folder, audio))
        times = [_began(tape, piece, at) for tape in tapes]
        told = [moment - before - at for moment in times[:-1] if moment is not None]
        heard += len(told)
        if len(told) < len(tapes) - 1:
            continue
        skews.append(max(told) - min(told))
        errors.append(statistics.median(told))
        if times[0] is not None and times[-1] is not None:
            recorders.append(abs(times[0] - times[-1]))
    say(f"skews {[round(skew, 4) for skew in skews]}, from the time {[round(error, 4) for error in errors]}")
    if not skews:
        raise NotMeasured(f"of {starts * (len(tapes) - 1)} beginnings {heard} were found in the recordings")
    return {
        "starts": starts,
        "outputs": len(tapes) - 1,
        "heard": heard,
        "p50_s": round(percentile(skews, 50), 5),
        "p99_s": round(percentile(skews, 99), 5),
        "from_the_time_s": [round(min(errors), 4), round(statistics.median(errors), 4), round(max(errors), 4)],
        "recording_error_s": round(max(recorders, default=0.0), 5),
    }


def _head(content: Sequence[int]) -> tuple[Sequence[int], float]:
    """The beginning of a sound, and how many seconds of silence are before it."""
    first = onset(content, 0, len(content)) or 0
    return content[first : first + _PIECE], first / RATE


def _began(tape: Tape, piece: Sequence[int], at: float) -> float | None:
    """When a sound began on a tape around a time, None if it did not."""
    samples, begin = tape.samples, tape.since(at - 1)
    first = onset(samples, begin, min(len(samples), begin + 4 * RATE))
    if first is None:
        return None
    place, likeness = find(piece, samples, first - RATE // 20, first + RATE // 20)
    return tape.moment(place) if likeness > _LIKE else None


async def _preemption(
    folder: Path, caller: Caller, tape: Tape, seen: Mapping[str, float], count: int, say: Say
) -> dict[str, Any]:
    """Interrupt a file by an emergency, again and again; return how soon it was heard, and where the file went on."""
    target = {"agent": next(iter(OUTPUTS)), "device": tape.sink}
    routine = await caller.upload(folder, _LONG, 2)
    urgent = await caller.upload(folder, _URGENT, 3)
    preempts, posts, errors = [], [], []
    for number in range(count):
        low = await caller.issue(target, routine, rank="routine")
        before = len(tape.samples)
        async with asyncio.timeout(10):
            while onset(tape.samples, before, len(tape.samples)) is None:
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0 + 2.5 * (number + random.random()) / count)
        posted = time.monotonic()
        high = await caller.issue(target, urgent, rank="emergency")
        await caller.over(high)
        await caller.over(low)
        await asyncio.sleep(0.3)
        original, other = decoded(folder, routine), decoded(folder, urgent)
        first, error = interruption(tape.samples, before, tape.since(posted), original, other)
        preempts.append(tape.arrival(first) - seen[high])
        posts.append(tape.arrival(first) - posted)
        errors.append(error)
    say(f"pre-empted after {[round(one, 3) for one in preempts]}, resumed off by {[round(one, 4) for one in errors]}")
    return {
        "emergencies": count,
        "preempt_p50_s": round(percentile(preempts, 50), 3),
        "preempt_worst_s": round(max(preempts), 3),
        "from_request_worst_s": round(max(posts), 3),
        "resume_error_worst_s": round(max(map(abs, errors)), 4),
        "resume_errors_s": [round(error, 4) for error in errors],
    }


def interruption(
    samples: Sequence[int], begin: int, called: int, original: Sequence[int], urgent: Sequence[int]
) -> tuple[int, float]:
    """Return the first sample of what interrupted, and how many seconds are missing (or, below 0, are heard twice) where it went on.

    The recording is silent at `begin`, and the interruption was called for at `called`. Raises `NotMeasured`.
    """
    head, before = _head(urgent)
    first, likeness = find(head, samples, called, called + _SOON)
    if likeness < _LIKE:
        raise NotMeasured("the emergency is not in the recording")
    loud = (last_sound(urgent, 0, len(urgent)) or len(urgent)) - round(before * RATE)
    began, cut = onset(samples, begin, called), last_sound(samples, begin, first - _EDGE)
    again = onset(samples, first + loud + _EDGE, len(samples))
    if began is None or cut is None or again is None:
        raise NotMeasured("the routine file is not on both sides of the emergency")
    # The edges themselves may be cut in the middle of a block, or faded in by the decoder.
    about = cut - _EDGE - _PIECE - began + (onset(original, 0, len(original)) or 0)
    last, after = samples[cut - _EDGE - _PIECE : cut - _EDGE], samples[again + _EDGE : again + _EDGE + _PIECE]
    stopped, like_before = find(last, original, about - _NEAR, about + _NEAR)
    about = stopped + _PIECE + 2 * _EDGE
    resumed, like_after = find(after, original, about - _NEAR, about + _NEAR)
    if min(like_before, like_after) < _LIKE:
        raise NotMeasured(f"the routine file was not recognised: {like_before:.2f}, {like_after:.2f}")
    return first, (resumed - about) / RATE
