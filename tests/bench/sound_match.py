"""Find a sound in a recording, to the sample. Pure."""

from __future__ import annotations

import array
import math
import random
from collections.abc import Sequence
from operator import mul

RATE = 48_000
_COARSE = 8
_BLOCK = RATE // 500


def noise(seconds: float, seed: int, lowest: float = 300.0, highest: float = 2000.0) -> array.array[int]:
    """Sound that resembles itself at no other place: tones of random pitch between two frequencies, changed each 20 ms."""
    rng = random.Random(seed)
    samples = array.array("h")
    phases = [0.0] * 3
    for _ in range(int(seconds * 50)):
        tones = [rng.uniform(lowest, highest) for _ in phases]
        for _ in range(RATE // 50):
            phases = [phase + math.tau * tone / RATE for phase, tone in zip(phases, tones, strict=True)]
            samples.append(int(3000 * sum(map(math.sin, phases))))
    return samples


def onset(samples: Sequence[int], begin: int, end: int, loud: int = 300) -> int | None:
    """The first sample, to 2 ms, at which it is not silent between two places."""
    for at in range(begin, end, _BLOCK):
        block = samples[at : min(at + _BLOCK, end)]
        if max(map(abs, block), default=0) > loud:
            return at
    return None


def last_sound(samples: Sequence[int], begin: int, end: int, loud: int = 300) -> int | None:
    """The sample, to 2 ms, before `end` after which it is silent."""
    for at in range(end, begin, -_BLOCK):
        if max(map(abs, samples[max(begin, at - _BLOCK) : at]), default=0) > loud:
            return at
    return None


def find(piece: Sequence[int], samples: Sequence[int], begin: int, end: int) -> tuple[int, float]:
    """Where a piece begins in a recording, looked for between two places, and how like it is there (1: the same, 0: nothing).

    Both may hold no tone above 2.5 kHz: it is looked for in every eighth sample first.
    """
    begin, end = max(0, begin), min(end, len(samples) - len(piece))
    coarse, where = piece[::_COARSE], samples[begin : end + len(piece) : _COARSE]
    rough = max(range(max(1, len(where) - len(coarse))), key=lambda lag: _like(coarse, where, lag))
    middle = begin + rough * _COARSE
    fine = range(max(0, middle - _COARSE), min(len(samples) - len(piece), middle + _COARSE) + 1)
    best = max(fine, key=lambda lag: sum(map(mul, piece, samples[lag : lag + len(piece)])))
    return best, _like(piece, samples, best)


def _like(piece: Sequence[int], samples: Sequence[int], lag: int) -> float:
    other = samples[lag : lag + len(piece)]
    power = math.sqrt(sum(map(mul, piece, piece)) * sum(map(mul, other, other)))
    return sum(map(mul, piece, other)) / power if power else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
