"""The chime that opens a broadcast, one for each class: a few seconds of bell tones, computed once.

    python -m village_agent.loudspeaker.chimes CLASS > chime.wav

A program of its own, because a tenth of a million numbers leave holes of two megabytes in the memory of whoever computes them.
"""

from __future__ import annotations

import array
import io
import math
import sys
import wave
from collections.abc import Mapping
from typing import get_args

from village_wire.broadcasts import Class

RATE = 22_050
#: Peak, of full scale: about as loud as speech that is normalised to -16 LUFS.
PEAK = 0.35
#: Tones as (hertz, seconds until the next one); the last one rings out.
_TONES: Mapping[Class, tuple[tuple[float, float], ...]] = {
    "emergency": ((988, 0.18), (740, 0.18), (988, 0.18), (740, 0.18), (988, 0.18), (740, 0.5)),
    "alert": ((659, 0.22), (784, 0.22), (988, 0.6)),
    "notice": ((659, 0.4), (523, 0.8)),
    "routine": ((523, 0.3), (659, 0.6)),
    "background": ((523, 0.5),),
}
#: A bell: the tone and two weaker overtones, which die away faster.
_PARTIALS = ((1.0, 0.7, 5.0), (2.0, 0.2, 8.0), (3.0, 0.1, 12.0))
_ATTACK_SECONDS = 0.005


def chime_seconds(rank: Class) -> float:
    """Return how long the chime of a class is."""
    return sum(length for _, length in _TONES[rank])


def tones(rank: Class) -> tuple[tuple[float, float], ...]:
    """Return the tones of a class as (hertz, seconds until the next one)."""
    return _TONES[rank]


def chime(rank: Class) -> bytes:
    """Return the chime of a class as a WAV file: 16 bit, mono. Takes some tenths of a second on a small box."""
    tones = _TONES[rank]
    samples = [0.0] * int(RATE * chime_seconds(rank))
    begin = 0.0
    for hertz, length in tones:
        first = int(begin * RATE)
        for index in range(first, len(samples)):
            age = (index - first) / RATE
            tone = sum(
                level * math.exp(-decay * age) * math.sin(2 * math.pi * hertz * multiple * age)
                for multiple, level, decay in _PARTIALS
            )
            samples[index] += min(1.0, age / _ATTACK_SECONDS) * tone
        begin += length
    # It ends in silence instead of a click.
    fade = int(0.05 * RATE)
    for index in range(fade):
        samples[-1 - index] *= index / fade
    loudest = max(map(abs, samples))
    values = array.array("h", (int(32767 * PEAK * sample / loudest) for sample in samples))
    if sys.byteorder == "big":
        values.byteswap()
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(values.tobytes())
    return content.getvalue()


if __name__ == "__main__":
    sys.stdout.buffer.write(chime({str(rank): rank for rank in get_args(Class)}[sys.argv[1]]))
