"""Measures how surely chimes are found: through rooms, noise, speech and clipping, with a recorder whose clock is off."""

from __future__ import annotations

import array
import asyncio
import math
import random
import statistics
from collections.abc import Sequence

import pytest

from tests.peers import peer
from village_agent.loudspeaker.hearing import HEARD, UNLIKE, WEAKER_DB, _wave_form, is_telling, listen
from village_agent.loudspeaker.witness import look
from village_drivers.abilities import RECORDING_RATE as RATE
from village_wire.broadcasts import CLASSES, Class

TELLING = [rank for rank in CLASSES if is_telling(rank)]
Samples = list[float]


def record(samples: Sequence[float]) -> bytes:
    return array.array("h", (max(-32768, min(32767, round(value * 32767))) for value in samples)).tobytes()


def noise(rnd: random.Random, count: int, level: float) -> Samples:
    """Pinkish: strong where voices and engines are."""
    slow, quick, found = 0.0, 0.0, []
    for _ in range(count):
        value = rnd.gauss(0, 1)
        slow, quick = 0.99 * slow + 0.1 * value, 0.7 * quick + 0.4 * value
        found.append(slow + quick + 0.2 * value)
    return scaled(found, level)


def scaled(samples: Samples, level: float) -> Samples:
    power = math.sqrt(statistics.fmean(value * value for value in samples)) or 1.0
    return [value * level / power for value in samples]


def in_room(rnd: random.Random, samples: Sequence[float], seconds: float) -> Samples:
    """With fifty echoes that die away within `seconds`."""
    length = int(seconds * RATE)
    taps = [(0, 1.0)]
    for _ in range(50):
        delay = rnd.randrange(40, length)
        taps.append((delay, rnd.choice((-0.35, 0.35)) * 10 ** (-3 * delay / length)))
    found = [0.0] * (len(samples) + length)
    for delay, gain in taps:
        for index, value in enumerate(samples):
            found[index + delay] += gain * value
    return found


def at_rate(samples: Sequence[float], ppm: float) -> Samples:
    """As a recorder takes them whose clock is off."""
    found = []
    for index in range(int(len(samples) / (1 + ppm * 1e-6)) - 2):
        whole, part = divmod(index * (1 + ppm * 1e-6), 1)
        found.append(samples[int(whole)] * (1 - part) + samples[int(whole) + 1] * part)
    return found


def mixed(ground: Samples, sound: Sequence[float], begin: int) -> Samples:
    found = list(ground)
    for index, value in enumerate(sound):
        if 0 <= begin + index < len(found):
            found[begin + index] += value
    return found


def melody(rnd: random.Random, count: int) -> Samples:
    """Bells that play the notes of the chimes at random: the worst of all music."""
    found = [0.0] * count
    begin = 0
    while begin < count:
        hertz, decay = rnd.choice((523, 587, 659, 698, 740, 784, 880, 988)), rnd.choice((0, 2, 5, 8))
        for index in range(begin, min(count, begin + RATE)):
            age = (index - begin) / RATE
            found[index] += math.exp(-decay * age) * (
                math.sin(math.tau * hertz * age) + 0.3 * math.sin(2 * math.tau * hertz * age)
            )
        begin += int(rnd.choice((0.15, 0.2, 0.3, 0.4)) * RATE)
    return scaled(found, 0.1)


async def spoken(voice: str, text: str) -> Samples:
    speaker = await asyncio.create_subprocess_exec(
        str(peer("espeak-ng")), "-v", voice, "--stdout", text, stdout=asyncio.subprocess.PIPE
    )
    wav, _ = await speaker.communicate()
    converter = await asyncio.create_subprocess_exec(
        str(peer("ffmpeg")), "-v", "error", "-i", "-", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    raw, _ = await converter.communicate(wav)
    return [value / 32768 for value in array.array("h", raw)]


def chime_in(rnd: random.Random, rank: Class, ground: Samples, loss: float, echo: float, ppm: float) -> Samples:
    """The chime somewhere in a recording, at most a twentieth of a second of it before that begins."""
    heard = at_rate(in_room(rnd, [value * loss for value in _wave_form(rank)], echo), ppm)
    return mixed(ground, heard, rnd.randrange(-RATE // 20, RATE // 2))


def level_of(rank: Class) -> float:
    return math.sqrt(statistics.fmean(value * value for value in _wave_form(rank)))


@pytest.mark.parametrize("rank", TELLING)
def test_a_chime_is_heard_through_echo_and_noise(rank: Class) -> None:
    rnd, loss, rows = random.Random(7), 0.1, []
    for ratio_db in (20, 10, 0, -5):
        for echo in (0.3, 1.0):
            found = []
            for ppm in (-100.0, 100.0, 0.0, 50.0):
                count = len(_wave_form(rank)) + RATE
                ground = noise(rnd, count, level_of(rank) * loss * 10 ** (-ratio_db / 20))
                found.append(listen(record(chime_in(rnd, rank, ground, loss, echo, ppm)), rank))
            rows.append((ratio_db, echo, sorted(one.likeness for one in found)))
            if ratio_db >= 0:
                assert statistics.median(one.likeness for one in found) >= HEARD
                assert sum(one.likeness < UNLIKE for one in found) <= (ratio_db == 0)
                assert all(abs(one.chime_db + 20) < 7 for one in found if one.heard), [one.chime_db for one in found]
    for ratio_db, echo, likenesses in rows:
        print(rank, f"{ratio_db} dB, echo {echo} s:", [round(value, 2) for value in likenesses])


@pytest.mark.parametrize("rank", TELLING)
async def test_what_is_no_chime_is_not_heard(rank: Class) -> None:
    rnd, count = random.Random(11), len(_wave_form(rank)) + RATE
    voices = [
        await spoken("cmn-latn-pinyin", "乡亲们请注意，今天下午三点在村委会开会，请大家准时参加，谢谢大家。"),
        await spoken("en", "Keep away from the river bank this afternoon, the reservoir will be opened at four."),
    ]
    worst: dict[str, float] = {}
    for name, sounds in {
        "noise": [noise(rnd, count, 0.1) for _ in range(10)],
        "speech": [
            mixed(noise(rnd, count, 0.001), voice[begin:], 0)
            for voice in voices
            for begin in range(0, RATE * 2, RATE // 2)
        ],
        "clipped noise": [[math.copysign(1, value) for value in noise(rnd, count, 0.1)] for _ in range(3)],
        "hum": [[0.2 * math.sin(math.tau * 50 * index / RATE) for index in range(count)]],
    }.items():
        worst[name] = max(listen(record(samples), rank).likeness for samples in sounds)
        assert worst[name] < (HEARD if name == "speech" else UNLIKE), (name, worst)
    others = [
        mixed(noise(rnd, count + RATE, 0.003), in_room(rnd, _wave_form(other), 0.5), RATE // 4)
        for other in CLASSES
        if other != rank
    ]
    worst["another class"] = max(listen(record(samples), rank).likeness for samples in others)
    assert worst["another class"] < HEARD
    music = [listen(record(melody(rnd, count)), rank).likeness for _ in range(20)]
    worst["music"] = max(music)
    assert sum(value >= HEARD for value in music) <= 4, sorted(music)
    print(rank, {name: round(value, 2) for name, value in worst.items()})


@pytest.mark.parametrize("rank", TELLING)
def test_a_recording_says_itself_whether_the_chime_would_be_heard(rank: Class) -> None:
    rnd, count, usual = random.Random(3), len(_wave_form(rank)) + RATE, -20.0
    loss = 10 ** (usual / 20)
    quiet = listen(record(noise(rnd, count, level_of(rank) * loss * 0.1)), rank, usual)
    assert quiet.absent
    # As loud as the market may be: a chime could hide in it, so nothing is told.
    loud = listen(record(noise(rnd, count, level_of(rank) * loss * 10)), rank, usual)
    assert (loud.heard, loud.absent, loud.would_hear) == (False, False, False)
    # Without knowing how strong it is usually, nothing is told either; nor by a microphone that is muted, or has heard too little.
    assert not listen(record(noise(rnd, count, 0.001)), rank).absent
    for samples in ([0.0] * count, noise(rnd, RATE // 2, 0.001), []):
        assert not listen(record(samples), rank, usual).absent
    assert listen(record([0.0] * count), rank, usual).silent
    # What is that much weaker than usual is heard all the same where it is quiet.
    weak = chime_in(rnd, rank, noise(rnd, count, 0.0005), loss * 10 ** (-WEAKER_DB / 20), 0.3, 0)
    assert listen(record(weak), rank, usual).heard


@pytest.mark.parametrize("rank", TELLING)
def test_a_chime_that_sounded_is_never_missed_for_certain(rank: Class) -> None:
    rnd, usual = random.Random(23), -20.0
    loss = 10 ** (usual / 20)
    told = []
    for ratio_db in (20, 5, 0, -5, -10, -20):
        for echo in (0.3, 1.0, 2.0):
            for weaker_db in (0, 6):
                count = len(_wave_form(rank)) + RATE
                ground = noise(rnd, count, level_of(rank) * loss * 10 ** (-ratio_db / 20))
                weak = loss * 10 ** (-weaker_db / 20)
                found = listen(record(chime_in(rnd, rank, ground, weak, echo, 100)), rank, usual)
                told.append((ratio_db, echo, weaker_db, found.heard))
                assert not found.absent, told[-1]
    print(rank, "not told:", [row[:3] for row in told if not row[3]])


@pytest.mark.parametrize("rank", TELLING)
def test_a_clipped_chime_is_heard(rank: Class) -> None:
    rnd, count = random.Random(5), len(_wave_form(rank)) + RATE
    assert listen(record(chime_in(rnd, rank, noise(rnd, count, 0.01), 20, 0.3, 0)), rank).likeness >= HEARD


async def test_the_child_finds_what_the_function_finds() -> None:
    rank: Class = "alert"
    recording = record(chime_in(random.Random(1), rank, noise(random.Random(2), 3 * RATE, 0.002), 0.1, 0.3, 0))
    assert await look(recording, rank, -20.0) == listen(recording, rank, -20.0)
    assert not (await look(b"", rank, None)).heard
