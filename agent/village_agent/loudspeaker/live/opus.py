"""Decodes Opus with the system's libopus, which Debian's ffmpeg depends on. Loaded when the first voice is heard.

A child process can't do it: only the library itself continues a voice over a missing frame.
"""

from __future__ import annotations

import array
import ctypes
import math
from functools import cache
from typing import Any

from village_drivers.kit import Misconfigured
from village_wire.live import FRAME_SAMPLES, RATE

_LIBRARY = "libopus.so.0"
#: opus_defines.h.
_SET_GAIN = 4034
_MIN_GAIN = -32768
#: What one packet may hold: 120 ms.
_MAX_SAMPLES = 5760
#: Gaps are continued for so many frames, each softer; after that there is silence.
_CONCEALED = 6


class InvalidFrame(ValueError):
    """The bytes are no Opus frame of 20 ms."""


@cache
def load() -> Any:
    """Return the library.

    Raises:
        Misconfigured: `program_missing`.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise Misconfigured("program_missing", f"{_LIBRARY} is not installed: apt-get install libopus0") from None
    library.opus_decoder_create.restype = ctypes.c_void_p
    library.opus_decoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    library.opus_decode.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
    ]  # fmt: skip
    library.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
    library.opus_decoder_destroy.restype = None
    return library


class Decoder:
    """One voice, mono, 48 kHz, signed 16 bit. `close` it."""

    def __init__(self) -> None:
        """Raises `Misconfigured` as `load`, or `MemoryError`."""
        self._library = load()
        error = ctypes.c_int()
        self._state: int | None = self._library.opus_decoder_create(RATE, 1, ctypes.byref(error))
        if not self._state:
            raise MemoryError(f"opus_decoder_create: {error.value}")
        self._samples = ctypes.create_string_buffer(2 * _MAX_SAMPLES)
        self._gap = 0
        self._gain = 1.0

    def set_gain(self, factor: float) -> None:
        """Make all that follows louder or softer."""
        if factor != self._gain:
            steps = max(_MIN_GAIN, round(20 * math.log10(factor) * 256)) if factor > 0 else _MIN_GAIN
            # Variable arguments: their types can't be declared.
            self._library.opus_decoder_ctl(ctypes.c_void_p(self._state), ctypes.c_int(_SET_GAIN), ctypes.c_int32(steps))
            self._gain = factor

    def decode(self, frame: bytes) -> bytes:
        """Return the sound of a frame; raises `InvalidFrame`."""
        self._gap = 0
        size = self._library.opus_decode(self._state, frame, len(frame), self._samples, _MAX_SAMPLES, 0)
        if size != FRAME_SAMPLES:
            raise InvalidFrame(f"opus_decode: {size}")
        return self._samples.raw[: 2 * FRAME_SAMPLES]

    def conceal(self) -> bytes:
        """Return something in place of a frame that is missing."""
        self._gap += 1
        if self._gap > _CONCEALED:
            return bytes(2 * FRAME_SAMPLES)
        size = self._library.opus_decode(self._state, None, 0, self._samples, FRAME_SAMPLES, 0)
        return self._samples.raw[: 2 * FRAME_SAMPLES] if size == FRAME_SAMPLES else bytes(2 * FRAME_SAMPLES)

    def close(self) -> None:
        """Free the state."""
        if self._state:
            self._library.opus_decoder_destroy(self._state)
            self._state = None


def blend(first: bytes, second: bytes) -> bytes:
    """Return two frames in the time of one: the first fades out while the second fades in."""
    fading, coming = array.array("h", first), array.array("h", second)
    last = len(fading)
    return array.array(
        "h", [(a * (last - at) + b * at) // last for at, (a, b) in enumerate(zip(fading, coming, strict=True))]
    ).tobytes()
