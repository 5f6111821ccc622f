"""What is configured of an MP3 board, and the times that its driver keeps."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from village_drivers.dfplayer.frames import Medium
from village_drivers.kit import DriverConfig
from village_drivers.line_monitor import MonitorTiming


class DfPlayerConfig(DriverConfig):
    """Settings of a DFPlayer Mini or one of its copies."""

    port: str = Field(
        description="Path of the serial device, 9600 baud. 串口设备路径（9600 波特）。", examples=["/dev/ttyUSB0"]
    )
    volume: float = Field(
        80, ge=0, le=100, description="Volume in percent where a command names none. 默认音量（%）。", examples=[80]
    )
    medium: Medium = Field(
        "sd",
        description="Where the tracks are: sd (memory card) or usb. 曲目所在介质：sd（存储卡）或 usb。",
        examples=["sd"],
    )
    gap_seconds: float = Field(
        0.1,
        ge=0.02,
        le=2,
        description="Pause between two frames; copies with GD3200B or MH2024K need up to 0.5. "
        "两帧之间的间隔（秒）；GD3200B、MH2024K 兼容芯片可能需要 0.5。",
        examples=[0.1],
    )


@dataclass(frozen=True, slots=True)
class Timing(MonitorTiming):
    """Times in seconds."""

    #: Copies answer after up to half a second.
    answer: float = 1.0
    #: Between status queries while a track is played, for boards that do not report its end.
    watch: float = 1.0
    #: What the board says of one thing in two ways comes within this.
    settle: float = 0.3
    #: From the order until the status says that it plays: a large folder is searched first.
    start: float = 3.0
    #: Some boards report an end twice.
    twice: float = 1.0
    #: Longer than this no track is.
    limit: float = 4 * 3600.0
