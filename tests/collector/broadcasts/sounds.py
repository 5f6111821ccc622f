"""Sound files made here, and their loudness as ffmpeg's own meter finds it."""

from __future__ import annotations

import math
import re
import struct
import subprocess
import wave
from collections.abc import AsyncIterator
from pathlib import Path


def tone(path: Path, seconds: float = 4.0, peak: float = 0.05, rate: int = 16_000) -> Path:
    """A WAV file with a tone of 440 Hz that swells, so that it has a loudness range."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = (
            int(32_000 * peak * (0.7 + 0.3 * math.sin(i / rate)) * math.sin(2 * math.pi * 440 * i / rate))
            for i in range(int(seconds * rate))
        )
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path


def converted(source: Path, target: Path, *words: str) -> Path:
    """The same in the format of the target's name."""
    subprocess.run(
        ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(source), *words, str(target)], check=True, timeout=60
    )
    return target


def loudness(path: Path) -> float:
    """LUFS, integrated."""
    words = ["ffmpeg", "-nostdin", "-hide_banner", "-i", str(path), "-af", "ebur128", "-f", "null", "-"]
    told = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stderr
    return float(re.findall(r"I:\s+(-?[0-9.]+) LUFS", told)[-1])


def streams(path: Path) -> str:
    """Codec, rate and channels as ffprobe tells them."""
    words = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,sample_rate,channels", "-of", "csv=p=0"]
    return subprocess.run([*words, str(path)], check=True, capture_output=True, text=True, timeout=60).stdout.strip()


async def parts(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """As a body comes in."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
