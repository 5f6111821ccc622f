"""The one form in which sound passes through this process: signed 16 bit little endian, mono, 48 kHz."""

from __future__ import annotations

#: Every sound card takes it, and none resamples it badly.
RATE = 48_000
SAMPLE_BYTES = 2
BYTES_PER_SECOND = RATE * SAMPLE_BYTES
#: 20 ms: a stop or a pause is heard at once.
BLOCK_BYTES = BYTES_PER_SECOND // 50


def seconds(size: int) -> float:
    """Return how long `size` bytes sound."""
    return size / BYTES_PER_SECOND


def gain(volume_percent: float) -> float:
    """Return the factor for a volume: 100 % leaves the sound as it is, 0 % is silence, between them the cube.

    The cube is PulseAudio's curve (`pa_sw_volume_to_linear`): equal steps sound about equally large; 50 % is -18 dB.
    """
    return (volume_percent / 100) ** 3
