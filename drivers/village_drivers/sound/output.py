"""The setting `output`, taken apart, and the check that the output is there."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from village_drivers.kit import NotConnected
from village_drivers.programs import find_program, run_program
from village_drivers.sound.pulse_device import DUMMY_SINK

_CHECK_SECONDS = 10.0
_CHECK_OUTPUT_BYTES = 64 * 1024
_CARDS = Path("/proc/asound/cards")


@dataclass(frozen=True, slots=True)
class Output:
    """An output. `target` is an ALSA device, a PulseAudio sink (empty: the default one) or the absolute path of a WAV file."""

    kind: Literal["alsa", "pulse", "file"]
    target: str

    @classmethod
    def parse(cls, text: str) -> Output:
        """Take `alsa:DEVICE`, `pulse`, `pulse:SINK` or `file:/PATH.wav`. Raises `ValueError`."""
        kind, _, target = text.partition(":")
        if kind == "alsa" and target:
            return cls("alsa", target)
        if kind == "pulse":
            return cls("pulse", target)
        if kind == "file" and target.startswith("/"):
            return cls("file", target)
        raise ValueError("must be alsa:DEVICE, pulse, pulse:SINK or file:/ABSOLUTE/PATH.wav")

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else self.kind


async def check(output: Output) -> None:
    """Look whether the output can be used now. Opens an ALSA device for a moment, which may be heard as a click.

    Raises:
        Misconfigured: a program is missing.
        NotConnected: no such device, busy, no PulseAudio, folder not writable.
    """
    if output.kind == "file":
        folder = Path(output.target).parent
        if not await asyncio.to_thread(os.access, folder, os.W_OK | os.X_OK):
            raise NotConnected("program_failed", f"{folder} is absent or not writable")
    elif output.kind == "alsa":
        tried = await run_program(
            "aplay", "-q", "-D", output.target, "-t", "raw", "-f", "S16_LE", "-r", "48000", "-c", "1", "/dev/null",
            seconds=_CHECK_SECONDS, limit=_CHECK_OUTPUT_BYTES,
        )  # fmt: skip
        if tried.status != 0:
            raise NotConnected("program_failed", f"{output}: {tried.stderr}")
    else:
        await find_program("pacat")
        await _check_pulse(output)


async def cards() -> str:
    """Return the kernel's list of sound cards, empty where there is none; it changes when a USB card comes or goes."""
    try:
        return await asyncio.to_thread(_CARDS.read_text)
    except OSError:
        return ""


async def _check_pulse(output: Output) -> None:
    listed = await run_program("pactl", "list", "short", "sinks", seconds=_CHECK_SECONDS, limit=_CHECK_OUTPUT_BYTES)
    if listed.status != 0:
        raise NotConnected("program_failed", f"PulseAudio: {listed.stderr}")
    columns = [line.split("\t") for line in listed.stdout.decode(errors="replace").splitlines()]
    sinks = [column[1] for column in columns if len(column) > 1]
    if output.target and output.target not in sinks:
        raise NotConnected(
            "program_failed", f"PulseAudio has no sink {output.target}, but {', '.join(sinks) or 'none at all'}"
        )
    if not output.target and sinks in ([], [DUMMY_SINK]):
        raise NotConnected("program_failed", "PulseAudio has no sound card")
