"""The driver `microphone`: lets the box hear whether its loudspeakers sound.

It opens the microphone only when it is asked to record, for some seconds at most, hands the recording to whoever asked, and keeps none of it.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from village_drivers.abilities import RECORDING_RATE
from village_drivers.kit import Device, DriverConfig, DriverError, NotConnected, Report, Services
from village_drivers.microphone.source import Source
from village_drivers.programs import child
from village_drivers.sound.output import cards

#: More is never recorded, whoever asks.
MAX_SECONDS = 30.0
_BYTES_PER_SECOND = 2 * RECORDING_RATE


class MicrophoneConfig(DriverConfig):
    """Settings of the driver `microphone`."""

    driver: Literal["microphone"] = Field(
        description="Always `microphone`. 固定为 microphone。", examples=["microphone"]
    )
    input: str = Field(
        "alsa:default",
        description="Where the sound comes from: alsa:DEVICE, pulse or pulse:SOURCE. 声音输入：alsa:设备、pulse 或 pulse:输入名。",
        examples=["alsa:plughw:1,0"],
    )
    server: str = Field(
        "",
        pattern=r"^[A-Za-z0-9:/._{}\[\]@-]*$",
        description="Address of PulseAudio; empty: the system's own. PulseAudio 服务地址；留空则用系统默认。",
        examples=["unix:/run/pulse/native"],
    )
    check_seconds: float = Field(
        60, gt=0, description="Time between checks of the input. 输入检查间隔（秒）。", examples=[60]
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        Source.parse(self.input, self.server)
        return self


class Microphone:
    """One microphone at this box."""

    Config: ClassVar[type[DriverConfig]] = MicrophoneConfig

    def __init__(self, config: MicrophoneConfig, _services: Services) -> None:
        self._config = config
        self._source = Source.parse(config.input, config.server)
        self._recording = 0
        self._fault: DriverError | None = None
        self._changed = asyncio.Event()

    def devices(self) -> Mapping[str, Device]:
        """The microphone."""
        return {self._config.id: Device("microphone", self, self._config.name)}

    async def record(self, begun: asyncio.Event, over: asyncio.Event, longest_seconds: float) -> bytes:
        """See `abilities.Microphone`; never longer than `MAX_SECONDS`. Raises `NotConnected` or `Misconfigured`."""
        self._recording += 1
        try:
            return await self._record(begun, over, min(longest_seconds, MAX_SECONDS))
        except DriverError as error:
            self._fault = error
            raise
        finally:
            self._recording -= 1
            self._changed.set()

    async def run(self, report: Report) -> None:
        """Watch the input. A recording that fails ends this with its error, so that the supervisor shows and retries it."""
        self._fault = None
        known: str | None = None
        while True:
            self._changed.clear()
            if self._fault is not None:
                raise self._fault
            present = await cards()
            # An ALSA device is opened only if the cards have changed: nobody is listened to without need.
            if not self._recording and (known != present or self._source.kind != "alsa"):
                await self._source.check()
                known = present
            report.state(self._config.id, "ok", "works", str(self._source))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.check_seconds):
                    await self._changed.wait()

    async def _record(self, begun: asyncio.Event, over: asyncio.Event, seconds: float) -> bytes:
        name, *arguments = self._source.command
        heard = bytearray()
        limit = int(seconds * RECORDING_RATE) * 2
        async with child(name, *arguments, stdout=PIPE) as running:

            async def hear() -> None:
                while len(heard) < limit and (piece := await running.stdout.read(_BYTES_PER_SECOND)):
                    heard.extend(piece)
                    begun.set()

            hearing = asyncio.create_task(hear(), name=f"{self._config.id} hears")
            ending = asyncio.create_task(over.wait(), name=f"end of what {self._config.id} hears")
            try:
                await asyncio.wait([hearing, ending], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done() and len(heard) < limit and not over.is_set():
                    said = await running.complaints() or "the recorder ended"
                    raise NotConnected("program_failed", f"{self._source}: {said}")
            finally:
                hearing.cancel()
                ending.cancel()
                await asyncio.wait([hearing, ending])
        return bytes(heard[:limit])
