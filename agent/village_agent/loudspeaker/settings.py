"""The tables `[loudspeakers]` and `[[loudspeakers.devices]]` of the agent's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from village_agent.loudspeaker.policy import Profile, QuietHours
from village_wire.broadcasts import MAX_AUDIO_BYTES, Class
from village_wire.ids import DeviceId


def _check_hours(text: str) -> str:
    if text:
        QuietHours.parse(text)
    return text


_Hours = Annotated[str, AfterValidator(_check_hours)]
_Percent = Annotated[float, Field(ge=0, le=100)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoudspeakerTable(_Table):
    """Table `[[loudspeakers.devices]]`: one loudspeaker's own settings; what is left out is as in `[loudspeakers]`."""

    id: DeviceId = Field(description="Device that is meant. 设备名称。", examples=["square-speaker"])
    amplifier: DeviceId | None = Field(
        None,
        description="Switch device that gives the amplifier power. 给功放供电的开关设备。",
        examples=["amplifier"],
    )
    current: DeviceId | None = Field(
        None,
        description="Meter of the amplifier's current in amperes, e.g. a Modbus register with scale; read while it sounds. "
        "测量功放电流（安培）的设备，如带系数的 Modbus 寄存器；播放时读取。",
        examples=["amplifier-current"],
    )
    current_rise_amperes: float = Field(
        0.3,
        gt=0,
        le=1000,
        description="By so much the current rises at least when the quietest broadcast sounds; less: it has failed. "
        "最小音量播放时电流至少上升的安培数；低于此值判为播放失败。",
        examples=[0.3],
    )
    microphone: DeviceId | None = Field(
        None,
        description="Microphone that hears this loudspeaker's chime; only figures leave the box, no recording is kept. "
        "能听到此喇叭提示音的麦克风；仅上报数值，不保存录音。",
        examples=["square-microphone"],
    )
    lead_in_seconds: float | None = Field(
        None, ge=0, le=30, description="See [loudspeakers]. 同 [loudspeakers]。", examples=[3]
    )
    quiet_hours: _Hours | None = Field(
        None,
        description="See [loudspeakers]; empty: none here. 同 [loudspeakers]；留空表示此喇叭不设静音时段。",
        examples=["21:00-07:00"],
    )
    volumes: Mapping[Class, _Percent] = Field(
        default_factory=dict,
        description="See [loudspeakers]; classes that are left out are as there. 同 [loudspeakers]，未列出的等级沿用其设置。",
        examples=[{"routine": 40}],
    )
    chime: tuple[Class, ...] | None = Field(
        None, description="See [loudspeakers]. 同 [loudspeakers]。", examples=[["emergency"]]
    )

    @property
    def needs(self) -> tuple[tuple[str, DeviceId | None, str], ...]:
        """The devices that are named here: the setting, the device, and the ability that it must have."""
        return (
            ("id", self.id, "loudspeaker"),
            ("amplifier", self.amplifier, "switch"),
            ("current", self.current, "meter"),
            ("microphone", self.microphone, "microphone"),
        )


class LoudspeakersTable(_Table):
    """Table `[loudspeakers]`."""

    quiet_hours: _Hours = Field(
        "",
        description="Local time in which only emergency and alert begin; empty: none. 静音时段（本地时间），期间仅播放紧急和警报广播；留空表示不设。",
        examples=["22:00-06:00"],
    )
    volumes: Mapping[Class, _Percent] = Field(
        default_factory=dict,
        description="Volume in percent by class, where a broadcast names none; a class without one is as loud as its driver is "
        "configured. 各等级的默认音量（%）；未设置的等级采用驱动的音量。",
        examples=[{"emergency": 100, "routine": 60}],
    )
    chime: tuple[Class, ...] = Field(
        ("emergency", "alert", "notice", "routine"),
        description="Classes that open with a chime. 播放开始提示音的等级。",
        examples=[["emergency", "alert"]],
    )
    lead_in_seconds: float = Field(
        2.0,
        ge=0,
        le=30,
        description="How long before a sound its amplifier is switched on. 功放提前开启的时长（秒）。",
        examples=[2],
    )
    amplifier_off_seconds: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="How long after the last sound its amplifier is switched off. 播放结束后功放关闭的延时（秒）。",
        examples=[20],
    )
    cache_bytes: int = Field(
        200_000_000,
        ge=2 * MAX_AUDIO_BYTES,
        le=100_000_000_000,
        description="Disk space for sound files and rendered texts. 音频缓存的磁盘上限（字节）。",
        examples=[200_000_000],
    )
    devices: tuple[LoudspeakerTable, ...] = Field(
        (), description="Loudspeakers with settings of their own. 单独设置的喇叭。"
    )

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [device.id for device in self.devices]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} has two tables [[loudspeakers.devices]]")
        return self

    def profile(self, device: str) -> Profile:
        """Return how a loudspeaker is used."""
        own = next((table for table in self.devices if table.id == device), None) or LoudspeakerTable(id=device)
        hours = self.quiet_hours if own.quiet_hours is None else own.quiet_hours
        return Profile(
            quiet=QuietHours.parse(hours) if hours else None,
            volumes={**self.volumes, **own.volumes},
            chimes=frozenset(self.chime if own.chime is None else own.chime),
            amplifier=own.amplifier,
            lead_in=self.lead_in_seconds if own.lead_in_seconds is None else own.lead_in_seconds,
            linger=self.amplifier_off_seconds,
            current=own.current,
            current_rise=own.current_rise_amperes,
            microphone=own.microphone,
        )
