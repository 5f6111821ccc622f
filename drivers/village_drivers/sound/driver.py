"""The driver `sound`: speaks and plays through a sound card, PulseAudio or into a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from village_drivers.kit import (
    Device,
    DriverConfig,
    DriverError,
    Misconfigured,
    NotConnected,
    Refused,
    Report,
    Services,
)
from village_drivers.programs import find_program, run_program
from village_drivers.sound.output import Output, cards, check
from village_drivers.sound.pcm import gain, seconds
from village_drivers.sound.sinks import Sink, open_sink
from village_drivers.sound.sources import Source, file_source, speech_source

_VOICE_CHECK_SECONDS = 10.0


def _valid_output(text: str) -> str:
    Output.parse(text)
    return text


class SoundConfig(DriverConfig):
    """Settings of the driver `sound`."""

    output: Annotated[str, AfterValidator(_valid_output)] = Field(
        "alsa:default",
        description="Where the sound goes: alsa:DEVICE, pulse, pulse:SINK or file:/PATH.wav (played in real time, continued on "
        "restart). 声音输出：alsa:设备、pulse、pulse:输出名或 file:/路径.wav（实时写入，重启后续写）。",
        examples=["alsa:plughw:1,0"],
    )
    volume: float = Field(
        100, ge=0, le=100, description="Volume in percent where a command names none. 默认音量（%）。", examples=[80]
    )
    voice: str = Field(
        "cmn-latn-pinyin",
        pattern=r"^[A-Za-z0-9+_-]*$",
        description="Voice of espeak-ng; empty: this loudspeaker does not speak texts. espeak-ng 语音；留空则不朗读文本。",
        examples=["cmn-latn-pinyin"],
    )
    words_per_minute: int = Field(
        160, ge=80, le=450, description="Rate of speech. 语速（每分钟词数）。", examples=[160]
    )
    check_seconds: float = Field(
        60, gt=0, description="Time between checks of the output. 输出检查间隔（秒）。", examples=[60]
    )


class Sound:
    """One loudspeaker. Plays one sound at a time; who may interrupt whom is decided by the caller, who cancels."""

    Config: ClassVar[type[DriverConfig]] = SoundConfig

    def __init__(self, config: SoundConfig, _services: Services) -> None:
        self._config = config
        self._output = Output.parse(config.output)
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._scope: asyncio.Timeout | None = None
        self._volume = config.volume
        self._sink: Sink | None = None
        #: Where the last sound began in its file, and how much of it was heard.
        self._begin = self._heard = 0.0
        self._fault: NotConnected | None = None

    def devices(self) -> Mapping[str, Device]:
        """The loudspeaker."""
        return {self._config.id: Device("loudspeaker", self, self._config.name)}

    @property
    def position_seconds(self) -> float:
        """See `abilities.FilePlayer`; of a text the seconds that were heard."""
        return self._begin + (self._heard if self._sink is None else seconds(self._sink.heard_bytes))

    async def run(self, report: Report) -> None:
        """Watch the output. A sound that fails ends this with its error, so that the supervisor shows and retries it."""
        identity = self._config.id
        self._fault = None
        try:
            await self._check_programs()
            known: str | None = None
            while True:
                self._changed.clear()
                if self._fault is not None:
                    raise self._fault
                present = await cards()
                # A sound under way is its own check; an ALSA device is opened again only if the cards have changed.
                if self._idle.is_set() and (known != present or self._output.kind != "alsa"):
                    await check(self._output)
                    known = present
                report.state(identity, "ok", "works", str(self._output))
                report.reading(
                    identity, "loudspeaker", {"busy": not self._idle.is_set(), "volume_percent": self._volume}
                )
                await self._until_changed()
        finally:
            await self.stop()

    async def say(self, text: str, volume: float | None) -> str:
        """Speak a text; contract as `abilities.Loudspeaker`."""
        if not self._config.voice:
            raise Refused("rejected", "this loudspeaker has no voice configured")
        level = self._level(volume)
        return await self._play(
            speech_source(text, self._config.voice, self._config.words_per_minute, gain(level)), level, 0.0
        )

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        """Play a file; contract as `abilities.FilePlayer`."""
        level = self._level(volume)
        return await self._play(file_source(path, gain(level), start_seconds), level, start_seconds)

    async def stop(self) -> None:
        """Fall silent; returns when the children are gone."""
        self._interrupt()
        await self._idle.wait()

    async def _play(self, opening: AbstractAsyncContextManager[Source], level: float, begin: float) -> str:
        if not self._idle.is_set():
            raise Refused("busy", "another sound is being played")
        self._idle.clear()
        self._begin, self._heard = begin, 0.0
        self._volume = level
        self._changed.set()
        try:
            async with asyncio.timeout(None) as self._scope:
                return await self._pump(opening)
        except TimeoutError:
            raise Refused("interrupted", f"stopped after {self._heard:.2f} s") from None
        except DriverError as error:
            evidence = f"{error} (after {self._heard:.2f} s)" if self._heard else str(error)
            if isinstance(error, Refused):
                raise Refused(error.code, evidence) from error
            self._fault = NotConnected(error.code, evidence)
            raise self._fault from error
        finally:
            self._scope = None
            self._volume = self._config.volume
            self._idle.set()
            self._changed.set()

    async def _pump(self, opening: AbstractAsyncContextManager[Source]) -> str:
        async with opening as source:
            block = await source.read()
            started = time.monotonic()
            async with open_sink(self._output) as sink:
                self._sink = sink
                try:
                    while block:
                        await sink.write(block)
                        block = await source.read()
                    await sink.finish()
                finally:
                    self._heard = seconds(sink.heard_bytes)
                    self._sink = None
        return f"played {self._heard:.2f} s in {time.monotonic() - started:.2f} s on {self._output}"

    def _level(self, volume: float | None) -> float:
        level = self._config.volume if volume is None else volume
        if not 0 <= level <= 100:
            raise Refused("rejected", f"volume {level:g} is not between 0 and 100 percent")
        return level

    def _interrupt(self) -> None:
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0)

    async def _until_changed(self) -> None:
        try:
            async with asyncio.timeout(self._config.check_seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _check_programs(self) -> None:
        await find_program("ffmpeg")
        voice = self._config.voice
        if not voice:
            return
        tried = await run_program(
            "espeak-ng", "-q", "-v", voice, "--stdin", feed=b".", seconds=_VOICE_CHECK_SECONDS, limit=4096
        )
        if tried.status != 0:
            raise Misconfigured("misconfigured", f"`voice` {voice}: {tried.stderr}")
