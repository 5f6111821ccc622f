"""The driver `snapcast`: a group of loudspeakers on the LAN that play in step.

The snapserver holds a second of sound back so that all clients can play it at the same time. What it holds can't be taken
back; to fall silent at once, the groups are muted until it has passed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import ClassVar, Literal

from pydantic import Field

from village_drivers.abilities import LiveSource
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
from village_drivers.snapcast.control import Control
from village_drivers.snapcast.sink import LEAD_SECONDS, SnapcastSink, hold, open_source
from village_drivers.snapcast.status import InvalidStatus, Stream, read_stream
from village_drivers.sound.pcm import CARD, STEREO
from village_drivers.sound.player import Player, Voice
from village_drivers.sound.sinks import TimedSink

_CONNECT_SECONDS = 10.0
#: To start the decoder and to ask who listens, on a small box.
_OPENING_SECONDS = 0.7
#: The clock of the sound card that plays it is not ours.
_SLACK_SECONDS = 0.1


class SnapcastConfig(DriverConfig):
    """Settings of the driver `snapcast`."""

    host: str = Field("127.0.0.1", description="Address of the snapserver. snapserver 地址。", examples=["127.0.0.1"])
    port: int = Field(
        1705, ge=1, le=65535, description="Its control port ([tcp] port). 控制端口（[tcp] port）。", examples=[1705]
    )
    stream: str = Field(
        "default", description="Name of the stream; its source is a pipe or a TCP server. 音频流名称，来源为管道或 TCP 服务器。",
        examples=["village"],
    )  # fmt: skip
    channels: Literal[1, 2] = Field(
        2, description="Channels of the stream (48000:16:2 is 2). 音频流声道数（48000:16:2 为 2）。", examples=[2]
    )
    buffer_seconds: float = Field(
        1.0,
        ge=0.1,
        le=10,
        description="The snapserver's `buffer`, after which a sound is heard. snapserver 的 buffer（秒），即播放延迟。",
        examples=[1.0],
    )
    volume: float = Field(
        100, ge=0, le=100, description="Volume in percent where a command names none. 默认音量（%）。", examples=[80]
    )
    voice: str = Field(
        "cmn-latn-pinyin",
        pattern=r"^[A-Za-z0-9+_-]*$",
        description="Voice of espeak-ng; empty: texts are not spoken. espeak-ng 语音；留空则不朗读文本。",
        examples=["cmn-latn-pinyin"],
    )
    words_per_minute: int = Field(
        160, ge=80, le=450, description="Rate of speech. 语速（每分钟词数）。", examples=[160]
    )
    check_seconds: float = Field(
        60, gt=0, description="Time between checks of the clients. 客户端检查间隔（秒）。", examples=[60]
    )


class Snapcast:
    """All clients of one stream as one loudspeaker."""

    Config: ClassVar[type[DriverConfig]] = SnapcastConfig

    def __init__(self, config: SnapcastConfig, _services: Services) -> None:
        self._config = config
        self._form = CARD if config.channels == 1 else STEREO
        self._voice = Voice(config.voice, config.words_per_minute)
        self._player = Player(
            f"the snapcast stream {config.stream}", self._form, self._open, config.volume, self._voice
        )
        self._control: Control | None = None
        self._hush = asyncio.Event()
        self._muted, self._unmuted = asyncio.Event(), asyncio.Event()
        self._muted.set()
        self._unmuted.set()
        #: Until then something sounds that nobody wants to hear.
        self._unwanted_until = 0.0
        self._listeners = ""

    def devices(self) -> Mapping[str, Device]:
        """The group."""
        return {self._config.id: Device("loudspeaker", self, self._config.name)}

    @property
    def position_seconds(self) -> float:
        """See `abilities.FilePlayer`."""
        return self._player.position_seconds

    async def say(self, text: str, volume: float | None) -> str:
        """Speak a text; contract as `abilities.Loudspeaker`."""
        return f"{await self._player.say(text, volume)}, {self._listeners}"

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        """Play a file; contract as `abilities.FilePlayer`."""
        return f"{await self._player.play_from(path, volume, start_seconds)}, {self._listeners}"

    @property
    def ahead_seconds(self) -> float:
        """See `abilities.PunctualPlayer`."""
        return self._config.buffer_seconds + _OPENING_SECONDS

    async def play_at(self, path: str, volume: float | None, at: float) -> str:
        """See `abilities.PunctualPlayer`."""
        return f"{await self._player.play_at(path, volume, at, self._open)}, {self._listeners}"

    async def play_live(self, source: LiveSource, volume: float | None) -> str:
        """See `abilities.LivePlayer`. Playing in step costs a live voice all that the server holds back; the evidence says how much."""
        evidence = await self._player.play_live(source, volume)
        return f"{evidence} {self._config.buffer_seconds + LEAD_SECONDS:.2f} s after it came, {self._listeners}"

    async def stop(self) -> None:
        """Fall silent; contract as `abilities.Loudspeaker`."""
        await self._player.stop()
        await self._muted.wait()

    async def run(self, report: Report) -> None:
        """See `kit.Driver.run`. It unmutes the groups of its stream, which it mutes itself to fall silent."""
        config, player = self._config, self._player
        player.fault = None
        self._hush.clear()
        await self._voice.check()
        control = await Control.open(config.host, config.port, player.changed.set, _CONNECT_SECONDS)
        self._control = control
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(control.listen(), name=f"{config.id} listens")
                group.create_task(self._watch(report), name=f"{config.id} watches")
                group.create_task(self._fall_silent(), name=f"{config.id} mutes")
        except* DriverError as errors:
            raise errors.exceptions[0] from None
        finally:
            await player.stop()
            self._control = None
            self._muted.set()
            self._unmuted.set()
            control.close()

    async def _watch(self, report: Report) -> None:
        # A mute that was under way when this driver ended.
        stream = await self._look()
        await self._mute(stream, mute=False)
        with hold(stream):
            await self._judge(report)

    async def _judge(self, report: Report) -> None:
        identity, player = self._config.id, self._player
        while True:
            player.changed.clear()
            if player.fault is not None:
                raise player.fault
            stream = await self._look()
            if not stream.connected:
                report.state(identity, "down", "device_offline", stream.summary)
            elif len(stream.connected) < len(stream.clients):
                report.state(identity, "degraded", "device_offline", stream.summary)
            else:
                report.state(identity, "ok", "works", stream.summary)
            report.reading(identity, "loudspeaker", {"busy": player.busy, "volume_percent": player.volume})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.check_seconds):
                    await player.changed.wait()

    async def _fall_silent(self) -> None:
        """Mute the groups while something unwanted is still to come out."""
        while True:
            await self._hush.wait()
            self._hush.clear()
            stream = await self._look()
            await self._mute(stream, mute=True)
            self._muted.set()
            while True:
                wait = self._unwanted_until - time.monotonic()
                if wait <= 0:
                    break
                await asyncio.sleep(wait)
            await self._mute(stream, mute=False)
            if not self._hush.is_set():
                self._unmuted.set()

    async def _mute(self, stream: Stream, *, mute: bool) -> None:
        for group in stream.groups:
            await self._reach().call("Group.SetMute", {"id": group.identity, "mute": mute})

    async def _look(self) -> Stream:
        """Return the stream as it is now.

        Raises:
            NotConnected: the server is away or says something strange.
            Misconfigured: it has no such stream, or one of another form.
        """
        config = self._config
        try:
            found = read_stream(await self._reach().call("Server.GetStatus"), config.stream)
        except InvalidStatus as error:
            raise NotConnected("rejected", str(error)) from error
        if isinstance(found, tuple):
            known = ", ".join(found) or "none at all"
            raise Misconfigured("misconfigured", f"the snapserver has no stream {config.stream}, but {known}")
        wanted = f"{self._form.rate}:{self._form.sample_bytes * 8}:{config.channels}"
        if found.sample_format != wanted:
            raise Misconfigured(
                "misconfigured", f"the stream {config.stream} is {found.sample_format}; `channels` needs {wanted}"
            )
        return found

    def _reach(self) -> Control:
        if self._control is None:
            raise NotConnected("unreachable", f"{self._config.host}:{self._config.port} is not connected")
        return self._control

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[TimedSink]:
        stream = await self._look()
        if not stream.connected:
            raise Refused("device_offline", stream.summary)
        # The server sends nothing to muted clients.
        await self._unmuted.wait()
        transport = await open_source(stream, self._config.host)
        sink = _Proven(self, SnapcastSink(transport, self._form, self._config.buffer_seconds))
        try:
            yield sink
        finally:
            if sink.finished:
                transport.close()
            else:
                transport.abort()
                delay = self._config.buffer_seconds + LEAD_SECONDS + _SLACK_SECONDS
                self._unwanted_until = time.monotonic() + delay
                if self._control is not None:
                    self._muted.clear()
                    self._unmuted.clear()
                    self._hush.set()

    async def prove(self) -> None:
        """Note who listened at the end; raises `Refused` if nobody did."""
        stream = await self._look()
        if not stream.connected:
            raise Refused("device_offline", stream.summary)
        self._listeners = stream.summary


class _Proven:
    """A sink whose end counts only if somebody still listens."""

    def __init__(self, driver: Snapcast, sink: SnapcastSink) -> None:
        self._driver = driver
        self._sink = sink
        self.write = sink.write
        self.align = sink.align

    @property
    def finished(self) -> bool:
        return self._sink.finished

    @property
    def heard_bytes(self) -> int:
        return self._sink.heard_bytes

    async def finish(self) -> None:
        await self._sink.finish()
        await self._driver.prove()
