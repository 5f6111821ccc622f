"""A voice of this computer as Ogg Opus: from a microphone, a file or standard input, encoded by ffmpeg as it is spoken."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from village_cli.failures import USAGE, Failure
from village_wire.language import Bilingual

#: Speech is clear at this rate, and 4G carries it.
BITRATE = "24k"
_READ_BYTES = 64 * 1024
#: Two pages of an Ogg stream of Opus describe it; sound begins with the third.
_PAGE, _HEAD_PAGES = b"OggS", 2
_INSTALL = {"ffmpeg": "ffmpeg", "parec": "pulseaudio-utils", "arecord": "alsa-utils"}
_RAW = ("-f", "s16le", "-ar", "48000", "-ac", "1", "-probesize", "32", "-analyzeduration", "0", "-i", "pipe:0")
#: Pages of one frame each, written at once, so that no word waits for the next.
_OPUS = (
    "-vn", "-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", BITRATE, "-application", "voip", "-frame_duration", "20",
    "-page_duration", "20000", "-flush_packets", "1", "-map_metadata", "-1", "-f", "ogg", "pipe:1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """Where the voice comes from: the program that records it, if any, and what ffmpeg reads."""

    recorder: tuple[str, ...]
    reading: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Source:
        """Take `pulse`, `pulse:SOURCE`, `alsa:DEVICE`, `-` for standard input, or a file. Raises `Failure`."""
        kind, _, name = text.partition(":")
        if kind == "pulse":
            device = (f"--device={name}",) if name else ()
            parec = ("--raw", "--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=20")
            return cls(("parec", *device, *parec, "--client-name=village"), _RAW)
        if kind == "alsa" and name:
            arecord = ("-f", "S16_LE", "-r", "48000", "-c", "1", "-t", "raw", "--buffer-time", "80000")
            return cls(("arecord", "-q", "-D", name, *arecord), _RAW)
        if text == "-":
            return cls((), ("-re", "-i", "pipe:0"))
        if not Path(text).is_file():
            raise Failure(
                Bilingual(f"There is no file {text}.", f"文件 {text} 不存在。"),
                Bilingual(
                    "Give a file, -, pulse, pulse:SOURCE or alsa:DEVICE with --from.",
                    "请用 --from 指定文件、-、pulse、pulse:音源 或 alsa:设备。",
                ),
                exit_code=USAGE,
            )
        return cls((), ("-re", "-i", f"file:{text}"))


@contextmanager
def speaking(source: Source) -> Iterator[Iterator[bytes]]:
    """Record while the context lasts; yields the pieces of the Ogg Opus stream, which end with the source or by Ctrl-C.

    Raises:
        Failure: a program is missing.
    """
    for name in (*source.recorder[:1], "ffmpeg"):
        if shutil.which(name) is None:
            raise Failure(
                Bilingual(f"{name} is not installed.", f"未安装 {name}。"),
                Bilingual(f"apt-get install {_INSTALL[name]}", f"apt-get install {_INSTALL[name]}"),
            )
    with ExitStack() as children:
        given: IO[bytes] | int | None = None
        recorder: subprocess.Popen[bytes] | None = None
        if source.recorder:
            recorder = children.enter_context(_child(source.recorder, subprocess.DEVNULL))
            given = recorder.stdout
        elif "pipe:0" not in source.reading:
            given = subprocess.DEVNULL
        command = ("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", *source.reading)
        encoder = children.enter_context(_child((*command, *_OPUS), given))
        if recorder is not None and recorder.stdout is not None:
            # So that each notices the end of the other.
            recorder.stdout.close()
        with _interrupting(recorder or encoder):
            yield _pieces(encoder)


def try_out(source: Source, name: str) -> None:
    """Raise `Failure` if no sound comes from a source, before a loudspeaker is woken for it. Standard input is left alone: it comes once."""
    if not source.recorder and "pipe:0" in source.reading:
        return
    heard = b""
    with speaking(source) as pieces:
        for piece in pieces:
            heard += piece
            if heard.count(_PAGE) > _HEAD_PAGES:
                return
    raise Failure(
        Bilingual(f"No sound comes from {name}.", f"{name} 没有声音。"),
        Bilingual(
            "Give a sound file or a microphone that is there with --from; `pactl list short sources` and `arecord -L` list those.",
            "请用 --from 指定音频文件或现有麦克风；可用 pactl list short sources 和 arecord -L 查看。",
        ),
        exit_code=USAGE,
    )


def _pieces(encoder: subprocess.Popen[bytes]) -> Iterator[bytes]:
    if encoder.stdout is None:
        raise ValueError("the encoder was started without a pipe")
    handle = encoder.stdout.fileno()
    while piece := os.read(handle, _READ_BYTES):
        yield piece


@contextmanager
def _child(command: tuple[str, ...], given: IO[bytes] | int | None) -> Iterator[subprocess.Popen[bytes]]:
    # In a session of its own: Ctrl-C is ours to handle.
    process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None and not process.stdout.closed:
            process.stdout.close()


@contextmanager
def _interrupting(first: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let Ctrl-C end the source, so that what was said is heard to the last word; a second one ends the program."""

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(ProcessLookupError):
            first.terminate()

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
