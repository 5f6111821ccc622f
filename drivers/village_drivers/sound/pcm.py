"""The forms in which sound passes through this process; to sound cards signed 16 bit little endian, mono, 48 kHz."""

from __future__ import annotations

from dataclasses import dataclass

#: Every sound card takes it, and none resamples it badly.
RATE = 48_000
SAMPLE_BYTES = 2
BYTES_PER_SECOND = RATE * SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class Form:
    """A form of raw sound. `codec` is ffmpeg's name of the format."""

    codec: str
    rate: int
    sample_bytes: int
    channels: int = 1

    @property
    def bytes_per_second(self) -> int:
        """Bytes that sound for one second."""
        return self.rate * self.sample_bytes * self.channels

    @property
    def block_bytes(self) -> int:
        """Bytes that sound for 20 ms."""
        return self.bytes_per_second // 50

    def seconds(self, size: int) -> float:
        """Return how long `size` bytes sound."""
        return size / self.bytes_per_second


CARD = Form("s16le", RATE, SAMPLE_BYTES)
STEREO = Form("s16le", RATE, SAMPLE_BYTES, 2)
#: G.711 mu-law, which every camera with a loudspeaker takes.
MU_LAW = Form("mulaw", 8000, 1)


def seconds(size: int) -> float:
    """Return how long `size` bytes sound."""
    return size / BYTES_PER_SECOND


def gain(volume_percent: float) -> float:
    """Return the factor for a volume: 100 % leaves the sound as it is, 0 % is silence, between them the cube.

    The cube is PulseAudio's curve (`pa_sw_volume_to_linear`): equal steps sound about equally large; 50 % is -18 dB.
    """
    return (volume_percent / 100) ** 3
