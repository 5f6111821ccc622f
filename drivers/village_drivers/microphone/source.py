"""The setting `input`, taken apart, the check that the source is there, and the program that records from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from village_drivers.abilities import RECORDING_RATE
from village_drivers.kit import NotConnected
from village_drivers.programs import run_program

_CHECK_SECONDS = 10.0
_CHECK_OUTPUT_BYTES = 64 * 1024
#: What PulseAudio puts in the place of the last card that went away; it is silent.
_DUMMY = "auto_null.monitor"
_ALSA_FORM = ("-t", "raw", "-f", "S16_LE", "-r", str(RECORDING_RATE), "-c", "1")


@dataclass(frozen=True, slots=True)
class Source:
    """An input. `target` is an ALSA device or a PulseAudio source (empty: the default one); `server` is PulseAudio's address, or empty."""

    kind: Literal["alsa", "pulse"]
    target: str
    server: str = ""

    @classmethod
    def parse(cls, text: str, server: str = "") -> Source:
        """Take `alsa:DEVICE`, `pulse` or `pulse:SOURCE`. Raises `ValueError`."""
        kind, _, target = text.partition(":")
        if kind == "alsa" and target and not server:
            return cls("alsa", target)
        if kind == "alsa" and target:
            raise ValueError("`server` is for pulse only")
        if kind == "pulse":
            return cls("pulse", target, server)
        raise ValueError("must be alsa:DEVICE, pulse or pulse:SOURCE")

    @property
    def command(self) -> tuple[str, ...]:
        """The program that writes what is heard to its stdout."""
        if self.kind == "alsa":
            return ("arecord", "-q", "-D", self.target, *_ALSA_FORM)
        device = (f"--device={self.target}",) if self.target else ()
        return (
            "parec", *self._at_server, *device, "--raw", "--format=s16le", f"--rate={RECORDING_RATE}", "--channels=1",
            "--latency-msec=20", "--client-name=village-agent", "--stream-name=chime",
        )  # fmt: skip

    @property
    def _at_server(self) -> tuple[str, ...]:
        return (f"--server={self.server}",) if self.server else ()

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else self.kind

    async def check(self) -> None:
        """Look whether it can be recorded from now. An ALSA device is opened for one sample, which is thrown away.

        Raises:
            Misconfigured: a program is missing.
            NotConnected: no such source, busy, or no PulseAudio.
        """
        if self.kind == "alsa":
            tried = await run_program(
                "arecord", "-q", "-D", self.target, *_ALSA_FORM, "-s", "1", "/dev/null",
                seconds=_CHECK_SECONDS, limit=_CHECK_OUTPUT_BYTES,
            )  # fmt: skip
            if tried.status != 0:
                raise NotConnected("program_failed", f"{self}: {tried.stderr}")
            return
        listed = await run_program(
            "pactl", *self._at_server, "list", "short", "sources", seconds=_CHECK_SECONDS, limit=_CHECK_OUTPUT_BYTES
        )
        if listed.status != 0:
            raise NotConnected("program_failed", f"PulseAudio: {listed.stderr}")
        problem = missing(listed.stdout, self.target)
        if problem:
            raise NotConnected("program_failed", problem)


def missing(listed: bytes, target: str) -> str:
    """Return why a source is not among those that `pactl list short sources` lists, empty if it is. `target` empty: the default one."""
    columns = [line.split("\t") for line in listed.decode(errors="replace").splitlines()]
    sources = [column[1] for column in columns if len(column) > 1]
    if target and target not in sources:
        return f"PulseAudio has no source {target}, but {', '.join(sources)[:500] or 'none at all'}"
    if not target and set(sources) <= {_DUMMY}:
        return "PulseAudio has no sound card"
    return ""
