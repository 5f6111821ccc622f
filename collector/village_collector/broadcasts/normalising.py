"""Any sound file to one form: mono Opus in Ogg, at one loudness. ffmpeg does it, as a child process with limits.

The file comes from anybody who may broadcast. ffmpeg gets nothing but that file: no network, and no format that names other files
(playlists could otherwise read the collector's own and play them).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from village_wire.broadcasts import MAX_AUDIO_BYTES, MAX_AUDIO_SECONDS

#: EBU R 128 as used for speech on the net.
LOUDNESS, PEAK = -16.0, -1.5
BITRATE, RATE = 24_000, 48_000
#: Four hours of music take a small server some four minutes in each of the two passes.
LIMIT_SECONDS = 900.0
#: Of processor time, address space (ffmpeg itself takes 0.3 GB of it) and open files of a pass.
_CPU_SECONDS, _ADDRESS_SPACE, _FILES = 900, 2_000_000_000, 64
_LIMITS = (f"--cpu={_CPU_SECONDS}", f"--as={_ADDRESS_SPACE}", f"--nofile={_FILES}", "--core=0")
#: ffmpeg's names of formats that hold their sound themselves, and that nothing else looks like.
FORMATS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,m4a,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,tta,w64,wav,webm,wv,3gp"
_READ = ("-nostdin", "-hide_banner", "-nostats", "-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS)
_CHAIN = f"aformat=channel_layouts=mono:sample_rates={RATE}"
_TAIL_BYTES = 16 * 1024
#: A file that shows a higher peak than this is not silent.
_SILENT = -70.0
_OGG_PAGE = 65_307
_OPUS_HEAD = b"OpusHead"


class BadAudio(Exception):
    """The file can't become an announcement; the text says why."""


class NoConverter(Exception):
    """ffmpeg or prlimit is not installed."""


async def normalise(source: Path, target: Path, limit_seconds: float = LIMIT_SECONDS) -> float:
    """Write the first sound track of `source` to `target`; return how many seconds it lasts.

    The same file gives the same bytes again, as long as ffmpeg is the same.

    Raises:
        BadAudio: it is no sound file, silent, or too long.
        NoConverter: a program is missing.
    """
    try:
        async with asyncio.timeout(limit_seconds):
            measured = await _measure(source)
            seconds = await _convert(source, target, measured)
    except TimeoutError:
        raise BadAudio(f"it took more than {limit_seconds:g} seconds to read") from None
    if seconds > MAX_AUDIO_SECONDS:
        raise BadAudio(f"it lasts longer than {MAX_AUDIO_SECONDS / 3600:g} hours")
    if seconds <= 0:
        raise BadAudio("it holds no sound")
    return seconds


async def _measure(source: Path) -> Mapping[str, float]:
    analysis = f"{_CHAIN},loudnorm=I={LOUDNESS}:TP={PEAK}:LRA=11:print_format=json"
    told = await _run(*_input(source), "-loglevel", "info", "-af", analysis, "-f", "null", "-")
    try:
        found: dict[str, Any] = json.loads(told[told.rindex("{") : told.rindex("}") + 1])
        measured = {
            name: float(found[name]) for name in ("input_i", "input_tp", "input_lra", "input_thresh", "target_offset")
        }
    except (ValueError, KeyError, TypeError):
        raise BadAudio("it holds no sound") from None
    if measured["input_tp"] < _SILENT or math.isnan(measured["input_tp"]):
        raise BadAudio("it is silent")
    return measured


async def _convert(source: Path, target: Path, measured: Mapping[str, float]) -> float:
    if math.isfinite(measured["input_i"]) and math.isfinite(measured["target_offset"]):
        names = {"input_i": "I", "input_tp": "TP", "input_lra": "LRA", "input_thresh": "thresh"}
        known = ":".join(f"measured_{name}={measured[key]:.2f}" for key, name in names.items())
        gain = (
            f"loudnorm=I={LOUDNESS}:TP={PEAK}:LRA=11:{known}:offset={measured['target_offset']:.2f}:linear=true"
            f",aresample={RATE},aformat=channel_layouts=mono"
        )
    else:
        # Less than 0.4 s has no loudness, only a peak.
        gain = f"volume={PEAK - measured['input_tp']:.2f}dB"
    await _run(
        *_input(source),
        *("-loglevel", "error", "-af", f"{_CHAIN},{gain}", "-map_metadata", "-1", "-fflags", "+bitexact"),
        *("-flags:a", "+bitexact", "-c:a", "libopus", "-b:a", str(BITRATE), "-f", "ogg", "-y", f"file:{target}"),
    )
    return await asyncio.to_thread(ogg_seconds, target)


def _input(source: Path) -> tuple[str, ...]:
    return (*_READ, "-t", f"{MAX_AUDIO_SECONDS + 1:g}", "-i", f"file:{source}", "-map", "0:a:0", "-vn", "-sn", "-dn")


async def _run(*words: str) -> str:
    limiter, converter = await asyncio.to_thread(_programs)
    process = await asyncio.create_subprocess_exec(
        *(limiter, *_LIMITS, f"--fsize={MAX_AUDIO_BYTES}", "--", converter, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    tail = bytearray()
    try:
        assert process.stderr is not None  # noqa: S101  # Asked for above.
        while part := await process.stderr.read(_TAIL_BYTES):
            tail += part
            del tail[:-_TAIL_BYTES]
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status < 0:
        raise BadAudio("it takes more memory, time or room than a sound file may")
    told = tail.decode(errors="replace")
    if status:
        raise BadAudio(_reason(told))
    return told


def _programs() -> tuple[str, str]:
    limiter, converter = shutil.which("prlimit"), shutil.which("ffmpeg")
    if limiter is None or converter is None:
        raise NoConverter("ffmpeg (and prlimit of util-linux) is needed at the collector")
    return limiter, converter


def _reason(told: str) -> str:
    if "No such filter" in told or "Unknown encoder" in told:
        return "this ffmpeg lacks loudnorm or libopus"
    if "File too large" in told:
        return "it takes more room than a sound file may"
    if "matches no streams" in told:
        return "it holds no sound"
    return "it is no sound file, or in a format that is not taken"


def ogg_seconds(path: Path) -> float:
    """Return how long an Ogg Opus file lasts (RFC 7845: last granule position less pre-skip); 0 for one without sound.

    Raises:
        BadAudio: it is none.
    """
    with path.open("rb") as file:
        head = file.read(_OGG_PAGE)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * _OGG_PAGE))
        end = file.read()
    first, last = head.find(_OPUS_HEAD), end.rfind(b"OggS")
    if not head.startswith(b"OggS") or first < 0 or last < 0 or len(end) < last + 14:
        raise BadAudio("the conversion gave no Ogg Opus")
    skip: int = struct.unpack_from("<H", head, first + 10)[0]
    granule: int = struct.unpack_from("<q", end, last + 6)[0]
    return max(0.0, (granule - skip) / RATE)
