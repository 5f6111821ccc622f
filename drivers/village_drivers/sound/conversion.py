"""From the sound of a live voice (see `abilities.LiveSource`) to the form that an output takes.

Other sounds are converted by ffmpeg, which as a child process would hold back more of a voice than it may wait.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from functools import cache
from operator import mul

from village_drivers.sound.pcm import CARD, MU_LAW, RATE, STEREO, Form

#: One of so many samples is left at 8 kHz.
_STEP = RATE // MU_LAW.rate
#: What lies above would come back as another tone; the filter takes 32 dB from 4.5 kHz on and delays by 1 ms.
_CUTOFF_HERTZ = 3600
_TAPS = 97
_MU_BIAS, _MU_LIMIT = 0x84, 32635


def converter(form: Form) -> Callable[[bytes], bytes]:
    """Return what converts one voice, block after block of 20 ms. Raises `ValueError` for a form that no output has."""
    if form == CARD:
        return bytes
    if form == STEREO:
        return _double
    if form == MU_LAW:
        return _Telephone().narrow
    raise ValueError(f"no live voice in the form {form}")


def _double(block: bytes) -> bytes:
    samples = array("h", block)
    both = array("h", bytes(2 * len(block)))
    both[0::2] = both[1::2] = samples
    return both.tobytes()


class _Telephone:
    """From 48 kHz to 8 kHz, in mu-law."""

    def __init__(self) -> None:
        self._held = array("h", bytes(2 * (_TAPS - 1)))

    def narrow(self, block: bytes) -> bytes:
        samples = self._held + array("h", block)
        self._held = samples[-(_TAPS - 1) :]
        taps, codes = _low_pass(), _codes()
        return bytes(
            codes[int(sum(map(mul, samples[at : at + _TAPS], taps))) >> 2]
            for at in range(0, len(samples) - _TAPS + 1, _STEP)
        )


@cache
def _low_pass() -> tuple[float, ...]:
    """A sinc in Hamming's window, which leaves the loudness as it is."""
    middle = (_TAPS - 1) / 2
    shape = []
    for number in range(_TAPS):
        at = 2 * _CUTOFF_HERTZ / RATE * (number - middle)
        sinc = 1.0 if at == 0 else math.sin(math.pi * at) / (math.pi * at)
        shape.append(sinc * (0.54 - 0.46 * math.cos(2 * math.pi * number / (_TAPS - 1))))
    whole = sum(shape)
    return tuple(value / whole for value in shape)


@cache
def _codes() -> bytes:
    """The mu-law code of each 16 bit value without its two lowest bits; negative ones count from the end, as indices do."""
    # Overshoot of the filter stays within half as much again.
    positive = [_mu_law(value << 2) for value in range(3 << 12)]
    negative = [_mu_law(value << 2) for value in range(-(3 << 12), 0)]
    return bytes(positive + negative)


def _mu_law(value: int) -> int:
    sign = 0x80 if value < 0 else 0
    magnitude = min(abs(value), _MU_LIMIT) + _MU_BIAS
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> (exponent + 3) & 0x0F) & 0xFF
