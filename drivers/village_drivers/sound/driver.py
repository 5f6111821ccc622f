"""The driver `sound`: speaks and plays through a sound card, PulseAudio or into a file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from village_drivers.abilities import LiveSource
from village_drivers.kit import Device, DriverConfig, Report, Services
from village_drivers.sound.output import Output, cards, check
from village_drivers.sound.pcm import CARD
from village_drivers.sound.player import Player, Voice
from village_drivers.sound.sinks import AHEAD_SECONDS, LIVE_BUFFER_SECONDS, open_sink


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
    """One loudspeaker at this box."""

    Config: ClassVar[type[DriverConfig]] = SoundConfig

    def __init__(self, config: SoundConfig, _services: Services) -> None:
        self._config = config
        self._output = Output.parse(config.output)
        self._voice = Voice(config.voice, config.words_per_minute)
        self._player = Player(str(self._output), CARD, lambda: open_sink(self._output), config.volume, self._voice)
        self.say = self._player.say
        self.play_from = self._player.play_from
        self.stop = self._player.stop

    def devices(self) -> Mapping[str, Device]:
        """The loudspeaker."""
        return {self._config.id: Device("loudspeaker", self, self._config.name)}

    @property
    def position_seconds(self) -> float:
        """See `abilities.FilePlayer`."""
        return self._player.position_seconds

    @property
    def ahead_seconds(self) -> float:
        """See `abilities.PunctualPlayer`."""
        return AHEAD_SECONDS

    async def play_at(self, path: str, volume: float | None, at: float) -> str:
        """See `abilities.PunctualPlayer`."""
        return await self._player.play_at(path, volume, at, partial(open_sink, self._output, timed=True))

    async def play_live(self, source: LiveSource, volume: float | None) -> str:
        """See `abilities.LivePlayer`."""
        return await self._player.play_live(source, volume, partial(open_sink, self._output, LIVE_BUFFER_SECONDS))

    async def run(self, report: Report) -> None:
        """Watch the output. A sound that fails ends this with its error, so that the supervisor shows and retries it."""
        identity, player = self._config.id, self._player
        player.fault = None
        try:
            await self._voice.check()
            known: str | None = None
            while True:
                player.changed.clear()
                if player.fault is not None:
                    raise player.fault
                present = await cards()
                # A sound under way is its own check; an ALSA device is opened again only if the cards have changed.
                if not player.busy and (known != present or self._output.kind != "alsa"):
                    await check(self._output)
                    known = present
                report.state(identity, "ok", "works", str(self._output))
                report.reading(identity, "loudspeaker", {"busy": player.busy, "volume_percent": player.volume})
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._config.check_seconds):
                        await player.changed.wait()
        finally:
            await player.stop()
