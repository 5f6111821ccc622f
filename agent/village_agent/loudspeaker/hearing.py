"""Whether a chime is in a recording: a pure decision, and the program that makes it outside the agent.

    python -m village_agent.loudspeaker.hearing CLASS [USUAL_DB] < recording > figures.json

The recording is that of `abilities.Microphone`. It is looked at only where the chime's tones are: by how much each tone and its octave
stand out of their neighbours beside them, every 20 ms. The course of that is compared with the chime's own. This needs neither a true
clock nor a straight frequency response, bears the echo of a square, and what sounds between the tones does not matter to it.

A program of its own, because it takes a second on a small box and leaves holes in the memory of whoever computes it. Only `Figures` leave
it: nothing that was said near the microphone can be told from them.
"""

from __future__ import annotations

import array
import cmath
import io
import json
import math
import sys
import wave
from collections.abc import Sequence
from functools import cache
from operator import mul
from typing import NamedTuple, get_args

from village_agent.loudspeaker.chimes import RATE, chime, chime_seconds, tones
from village_drivers.abilities import RECORDING_RATE
from village_wire.broadcasts import Class

#: Likeness, of which 1 is the chime itself. Noise and speech reach 0.3, another class's chime and music in the same key 0.6; the chime
#: itself has more than 0.6 at a signal as strong as the noise and an echo of one second. What lies between is not told.
HEARD = 0.6
UNLIKE = 0.45
#: A chime that is so much weaker than usual is one of another loudspeaker, or none worth the name.
WEAKER_DB = 10.0
#: One block, and the window of several blocks that tells neighbours apart: 4 blocks have their first zero 25 Hz away.
_BLOCK = RECORDING_RATE // 50
_WINDOW = (0.345, 0.905, 0.905, 0.345)
_STEPS_PER_SECOND = RECORDING_RATE / _BLOCK
#: Where the neighbours of a tone are.
_BESIDE_HERTZ = (-45.0, 45.0)
_PARTIALS = (1, 2)
#: A tone that stands out by more is no surer.
_MOST_DB = 20.0
#: The chime is compared with its surroundings in time too: it begins out of silence.
_BEFORE_STEPS = 15
#: Such faint noise is put under the chime that it is compared with, so that its tones die away in it as they do in a recording.
_FAINT = 1e-6
#: A microphone that works is never so quiet: the last bit of 16.
_QUIET = 1.5
_TINY = 1e-12


class Figures(NamedTuple):
    """What was found. `likeness` is at most 1; levels are in dB, the chime's against its sound file, the recording's against full scale.

    `would_hear` is whether a chime 10 dB weaker than usual would have been found in this recording; None if none is usual.
    """

    seconds: float
    likeness: float
    chime_db: float
    recording_db: float
    silent: bool
    would_hear: bool | None = None

    @property
    def heard(self) -> bool:
        """Whether the chime is in the recording."""
        return self.likeness >= HEARD

    @property
    def absent(self) -> bool:
        """Whether the chime is not in the recording for certain."""
        return self.likeness < UNLIKE and not self.silent and self.would_hear is True


def is_telling(rank: Class) -> bool:
    """Whether a class's chime can be told from music: one tone alone can't."""
    return len(tones(rank)) > 1


def listen(recording: bytes, rank: Class, usual_db: float | None = None) -> Figures:
    """Look for the chime of a class in a recording; `usual_db` is how strong it usually is, see `Figures.chime_db`."""
    samples = _samples(recording)
    likeness, level = _compare(samples, rank)
    square = sum(map(mul, samples, samples)) / max(1, len(samples))
    silent = max(map(abs, samples), default=0.0) * 32768 <= _QUIET
    would_hear = None
    if usual_db is not None and likeness < HEARD:
        would_hear = not silent and _would_hear(samples, rank, usual_db - WEAKER_DB)
    return Figures(len(samples) / RECORDING_RATE, likeness, level, 10 * math.log10(square + _TINY), silent, would_hear)


def _would_hear(samples: Sequence[float], rank: Class, level_db: float) -> bool:
    """Whether the chime is found when it is put into the recording, wherever that is."""
    gain, wave_form = 10 ** (level_db / 20), _wave_form(rank)
    room = len(samples) - len(wave_form)
    if room < 0:
        return False
    for begin in (0, room // 2, room):
        mixed = list(samples)
        for index, value in enumerate(wave_form):
            mixed[begin + index] += gain * value
        if _compare(mixed, rank)[0] < HEARD:
            return False
    return True


def _compare(samples: Sequence[float], rank: Class) -> tuple[float, float]:
    """Return likeness and level of the chime at the moment at which it is most alike."""
    model, power = _model(rank)
    rows = [_stands_out(samples, hertz) for hertz in _frequencies(rank)]
    steps = len(model[0])
    known = len(rows[0][0])
    # It may have begun a little before the recording did.
    padded = [[0.0] * _BEFORE_STEPS + row + [0.0] * _BEFORE_STEPS for row, _ in rows]
    strength = [[0.0] * _BEFORE_STEPS + row + [0.0] * _BEFORE_STEPS for _, row in rows]
    best, at = 0.0, 0
    for lag in range(max(0, known + 2 * _BEFORE_STEPS - steps + 1)):
        found = _likeness([row[lag : lag + steps] for row in padded], model)
        if found > best:
            best, at = found, lag
    heard = sum(sum(row[at : at + steps]) for row in strength)
    return best, 10 * math.log10(max(heard, _TINY) / power)


def _likeness(rows: Sequence[Sequence[float]], model: Sequence[Sequence[float]]) -> float:
    together = ours = theirs = 0.0
    for row, wanted in zip(rows, model, strict=True):
        mean = sum(row) / len(row)
        # The model's rows have no mean.
        together += sum(map(mul, row, wanted))
        ours += sum(map(mul, row, row)) - len(row) * mean * mean
        theirs += sum(map(mul, wanted, wanted))
    return together / math.sqrt(ours * theirs) if ours > _TINY else 0.0


def _stands_out(samples: Sequence[float], hertz: float) -> tuple[list[float], list[float]]:
    """Return by how many dB a tone stands out of its neighbours in each step, and its power beyond theirs."""
    tone = _course(samples, hertz)
    beside = [_course(samples, hertz + away) for away in _BESIDE_HERTZ]
    decibels, powers = [], []
    for own, *others in zip(tone, *beside, strict=True):
        noise = max(others)
        ratio = 10 * math.log10((own + _TINY) / (noise + _TINY))
        decibels.append(min(_MOST_DB, max(0.0, ratio)))
        powers.append(max(0.0, own - noise))
    return decibels, powers


def _course(samples: Sequence[float], hertz: float) -> list[float]:
    """Return the power at a frequency in each step."""
    omega = 2 * math.pi * hertz / RECORDING_RATE
    cosine = [math.cos(omega * index) for index in range(_BLOCK)]
    sine = [-math.sin(omega * index) for index in range(_BLOCK)]
    blocks = []
    for number in range(len(samples) // _BLOCK):
        block = samples[number * _BLOCK : (number + 1) * _BLOCK]
        turn = cmath.exp(-1j * omega * _BLOCK * number)
        blocks.append(turn * complex(sum(map(mul, block, cosine)), sum(map(mul, block, sine))))
    scale = 1 / (_BLOCK * sum(_WINDOW))
    return [
        abs(scale * sum(weight * blocks[first + offset] for offset, weight in enumerate(_WINDOW))) ** 2
        for first in range(len(blocks) - len(_WINDOW) + 1)
    ]


def _frequencies(rank: Class) -> list[float]:
    return sorted({hertz * partial for hertz, _ in tones(rank) for partial in _PARTIALS})


@cache
def _model(rank: Class) -> tuple[list[list[float]], float]:
    """Return how the tones of a chime stand out, each row without its mean, and the power of all of them."""
    quiet = [0.0] * (_BEFORE_STEPS * _BLOCK)
    samples = [*quiet, *_wave_form(rank), *quiet]
    rows, power = [], 0.0
    for hertz in _frequencies(rank):
        own = _course(samples, hertz)
        row = [min(_MOST_DB, 10 * math.log10(1 + value / _FAINT)) for value in own]
        # Another tone of the chime shines into this one's neighbourhood.
        shown = _stands_out(samples, hertz)[0]
        row = [min(one, other) for one, other in zip(row, shown, strict=True)]
        mean = sum(row) / len(row)
        rows.append([value - mean for value in row])
        power += sum(own)
    return rows, power


@cache
def _wave_form(rank: Class) -> tuple[float, ...]:
    """Return the chime as a microphone would record it that stands in the loudspeaker."""
    with wave.open(io.BytesIO(chime(rank))) as file:
        source = _samples(file.readframes(file.getnframes()))
    found = []
    for index in range(int(chime_seconds(rank) * RECORDING_RATE) - 1):
        whole, part = divmod(index * RATE / RECORDING_RATE, 1)
        first = int(whole)
        found.append(source[first] * (1 - part) + source[min(first + 1, len(source) - 1)] * part)
    return tuple(found)


def _samples(content: bytes) -> list[float]:
    values = array.array("h", content[: len(content) // 2 * 2])
    if sys.byteorder == "big":
        values.byteswap()
    return [value / 32768 for value in values]


if __name__ == "__main__":
    _rank: Class = {str(rank): rank for rank in get_args(Class)}[sys.argv[1]]
    _usual = float(sys.argv[2]) if len(sys.argv) > 2 else None
    sys.stdout.write(json.dumps(listen(sys.stdin.buffer.read(), _rank, _usual)._asdict()))
