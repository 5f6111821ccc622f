"""The driver `rtsp`: is the camera's stream alive, and how does it look now."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

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
from village_drivers.programs import Child, child, run_program
from village_drivers.rtsp.meter import MAX_LINE_BYTES, Meter
from village_drivers.rtsp.source import StreamSource
from village_drivers.rtsp.talk import open_talk
from village_drivers.sound.pcm import MU_LAW
from village_drivers.sound.player import Player, Voice
from village_drivers.sound.sinks import Sink

#: A picture of 1280 pixels is 200 kB; whatever is larger is not what was asked for.
MAX_PICTURE_BYTES = 2 * 1024 * 1024
#: Between readings of the loudspeaker that have not changed.
_READING_SECONDS = 300.0
_QUIET = ("-hide_banner", "-loglevel", "error")


class RtspConfig(DriverConfig):
    """Settings of the driver `rtsp`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(
        description="Address of the stream; better without user name and password. 视频流地址（最好不含用户名和密码）。",
        examples=["rtsp://192.168.1.64:554/Streaming/Channels/102"],
    )
    username: str = Field("", description="User name at the camera. 摄像机用户名。", examples=["village"])
    password: SecretStr = Field(
        SecretStr(""), description="Password at the camera. 摄像机密码。", examples=["change-me"]
    )
    password_file: Path | None = Field(
        None,
        description="File that holds the password instead. 存放密码的文件。",
        examples=["/etc/village-agent/camera.pw"],
    )
    transport: Literal["tcp", "udp"] = Field(
        "tcp", description="Transport of the packets. 传输方式。", examples=["tcp"]
    )
    interval_seconds: float = Field(60, gt=0, description="Time between probes. 检测间隔（秒）。", examples=[60])
    probe_seconds: float = Field(5, gt=0, description="Length of one probe. 每次检测时长（秒）。", examples=[5])
    continuous: bool = Field(
        False,
        description="Watch the stream all the time, with a reading every `interval_seconds`. 持续监测，每个间隔上报一次。",
        examples=[False],
    )
    connect_seconds: float = Field(
        15, gt=0, description="Time until the first packet. 首个数据包的最长等待时间（秒）。", examples=[15]
    )
    packet_seconds: float = Field(
        5, gt=0, description="Silence after which the stream is down. 无数据包判定中断时间（秒）。", examples=[5]
    )
    key_frame_seconds: float = Field(
        15, gt=0, description="Time without a key frame that is a fault. 无关键帧判定异常时间（秒）。", examples=[15]
    )
    snapshot_seconds: float = Field(
        20, gt=0, description="Time that a snapshot may take. 抓图最长时间（秒）。", examples=[20]
    )
    snapshot_width: int = Field(
        1280, ge=64, le=3840, description="Widest snapshot, in pixels. 抓图最大宽度（像素）。", examples=[1280]
    )

    talk: bool = Field(
        False,
        description="Use the camera's loudspeaker through its ONVIF back channel (G.711). "
        "通过 ONVIF 回传通道（G.711）使用摄像机的喇叭。",
        examples=[True],
    )
    volume: float = Field(
        100,
        ge=0,
        le=100,
        description="Volume of the loudspeaker in percent where a command names none. 喇叭默认音量（%）。",
        examples=[80],
    )
    voice: str = Field(
        "cmn-latn-pinyin",
        pattern=r"^[A-Za-z0-9+_-]*$",
        description="Voice of espeak-ng; empty: the camera does not speak texts. espeak-ng 语音；留空则不朗读文本。",
        examples=["cmn-latn-pinyin"],
    )
    words_per_minute: int = Field(
        160, ge=80, le=450, description="Rate of speech. 语速（每分钟词数）。", examples=[160]
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.password.get_secret_value() and self.password_file is not None:
            raise ValueError("give either password or password_file")
        try:
            self.source("")
        except ValueError as error:
            raise ValueError(f"url {error}") from None
        return self

    def source(self, password: str) -> StreamSource:
        """Return the stream, with the password of `password_file` if there is one. Raises `ValueError`."""
        return StreamSource.make(
            self.url.get_secret_value(), self.username, password or self.password.get_secret_value(), self.transport
        )


class RtspCamera:
    """One camera. A probe lets ffmpeg copy packets without decoding them and counts packets and key frames."""

    Config: ClassVar[type[DriverConfig]] = RtspConfig

    def __init__(self, config: RtspConfig, _services: Services) -> None:
        self._config = config
        self._one_picture = asyncio.Lock()
        self._talk = _TalkingCamera(self, config) if config.talk else None

    def devices(self) -> Mapping[str, Device]:
        """The camera."""
        return {self._config.id: Device("camera", self._talk or self, self._config.name)}

    async def run(self, report: Report) -> None:
        """Probe the stream for ever.

        Raises:
            Misconfigured: ffmpeg is missing, or the camera does not accept user name and password. Trying again would make
                some cameras lock the account.
            NotConnected: the camera is unreachable, refuses the stream, or sends no packet.
        """
        source = await self.source()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(report, source), name=f"{self._config.id} watches")
                if self._talk is not None:
                    group.create_task(self._talk.tell(report), name=f"{self._config.id} tells")
        except* DriverError as errors:
            raise errors.exceptions[0] from None
        finally:
            if self._talk is not None:
                await self._talk.stop()

    async def snapshot(self) -> bytes:
        """Return the next key frame as a JPEG; contract as `abilities.Camera`. A second call waits for the first."""
        async with self._one_picture:
            try:
                source = await self.source()
                await source.reach(self._config.connect_seconds)
                return await self._picture(source)
            except Misconfigured as error:
                raise Refused(error.code, str(error)) from error

    async def _watch(self, report: Report, source: StreamSource) -> None:
        while True:
            await self._probe(report, source)
            await asyncio.sleep(self._config.interval_seconds)

    async def source(self) -> StreamSource:
        """Return where the stream is, with its password; raises `Misconfigured`."""
        file = self._config.password_file
        try:
            return self._config.source((await asyncio.to_thread(file.read_text)).strip() if file else "")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is no text"
            raise Misconfigured("misconfigured", f"`password_file` {file}: {reason}") from error

    async def _probe(self, report: Report, source: StreamSource) -> None:
        """Watch the stream for one window, or for ever if `continuous`."""
        config = self._config
        await source.reach(config.connect_seconds)
        arguments = ("-c", "copy", "-copyinkf", "-flush_packets", "1", "-f", "framecrc", "pipe:1")
        async with child(
            "ffmpeg", *_QUIET, *source.arguments(), *arguments, stdout=PIPE, feed=source.script(), limit=MAX_LINE_BYTES
        ) as probe:
            meter = Meter(time.monotonic())
            while meter.last_packet is None:
                meter.line(await self._line(probe, source, config.connect_seconds), time.monotonic())
            window = config.interval_seconds if config.continuous else config.probe_seconds
            began = first = time.monotonic()
            while True:
                meter.line(await self._line(probe, source, config.packet_seconds), time.monotonic())
                now = time.monotonic()
                key_is_due = now - (meter.last_key or first) > config.key_frame_seconds
                if now - began < window or (meter.last_key is None and not key_is_due):
                    continue
                self._tell(report, meter, now, key_is_due)
                if not config.continuous:
                    return
                meter.next_window(now)
                began = now

    async def _line(self, probe: Child, source: StreamSource, patience: float) -> bytes:
        try:
            async with asyncio.timeout(patience):
                line = await probe.stdout.readline()
        except TimeoutError:
            raise NotConnected("no_packets", f"no packet for {patience:g} s") from None
        except ValueError:
            raise NotConnected("program_failed", f"ffmpeg wrote a line of over {MAX_LINE_BYTES} bytes") from None
        if not line:
            raise source.failure(await probe.complaints(source.hide))
        return line

    def _tell(self, report: Report, meter: Meter, now: float, key_is_due: bool) -> None:
        fields = meter.reading(now)
        report.reading(self._config.id, "camera", fields)
        rates = f"{fields['packets_per_s']:.1f} packets/s, {fields['key_frames_per_min']:.0f} key frames/min"
        if key_is_due:
            report.state(
                self._config.id, "degraded", "no_key_frames", f"{rates}, none for {self._config.key_frame_seconds:g} s"
            )
        else:
            report.state(self._config.id, "ok", "works", rates)

    async def _picture(self, source: StreamSource) -> bytes:
        config = self._config
        # Frames between key frames would come out grey and torn.
        finished = run_program(
            "ffmpeg", *_QUIET, "-skip_frame", "nokey", *source.arguments(), "-frames:v", "1",
            "-vf", f"scale='min({config.snapshot_width},iw)':-2", "-c:v", "mjpeg", "-q:v", "4", "-f", "image2pipe", "pipe:1",
            feed=source.script(), seconds=config.snapshot_seconds + 1, limit=MAX_PICTURE_BYTES, hide=source.hide,
        )  # fmt: skip
        try:
            async with asyncio.timeout(config.snapshot_seconds):
                picture = await finished
        except TimeoutError:
            raise NotConnected("no_packets", f"no whole picture in {config.snapshot_seconds:g} s") from None
        if picture.status != 0:
            raise source.failure(picture.stderr)
        if not (picture.stdout.startswith(b"\xff\xd8") and picture.stdout.endswith(b"\xff\xd9")):
            raise Refused("program_failed", f"ffmpeg made no JPEG of the stream: {picture.stderr or 'no picture came'}")
        return picture.stdout


class _TalkingCamera:
    """A camera that is a loudspeaker too."""

    def __init__(self, camera: RtspCamera, config: RtspConfig) -> None:
        self._camera = camera
        self._config = config
        voice = Voice(config.voice, config.words_per_minute)
        self._player = Player("the camera's back channel", MU_LAW, self._open, config.volume, voice)
        self.snapshot = camera.snapshot
        self.say = self._player.say
        self.play_from = self._player.play_from
        self.play_live = self._player.play_live
        self.stop = self._player.stop

    @property
    def position_seconds(self) -> float:
        """See `abilities.FilePlayer`."""
        return self._player.position_seconds

    async def tell(self, report: Report) -> None:
        """Report what the loudspeaker does."""
        while True:
            self._player.changed.clear()
            fields = {"busy": self._player.busy, "volume_percent": self._player.volume}
            report.reading(self._config.id, "loudspeaker", fields)
            with suppress(TimeoutError):
                async with asyncio.timeout(_READING_SECONDS):
                    await self._player.changed.wait()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Sink]:
        source = await self._camera.source()
        async with open_talk(source, self._config.connect_seconds) as sink:
            yield sink
