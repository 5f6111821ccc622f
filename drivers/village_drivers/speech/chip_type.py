"""What is configured of a speech chip, what is fixed by its type, and the times that its driver keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field

from village_drivers.kit import DriverConfig
from village_drivers.line_monitor import MonitorTiming


class SpeechConfig(DriverConfig):
    """Settings of a speech chip."""

    port: str = Field(description="Path of the serial device. 串口设备路径。", examples=["/dev/ttyUSB0"])
    volume: float = Field(
        80,
        ge=0,
        le=100,
        description="Volume in percent of the chip's range. 音量，占芯片量程的百分比。",
        examples=[80],
    )


@dataclass(frozen=True, slots=True)
class ChipType:
    """What distinguishes one chip from another. `say` makes a frame of text and codec, see the frame modules."""

    name: str
    max_text_bytes: int
    loudest: int
    wide: str
    gap_s: float
    stop: bytes
    status: bytes
    say: Callable[[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Timing(MonitorTiming):
    """Times in seconds."""

    #: The chips answer a frame within some milliseconds.
    answer: float = 1.0
    #: A character is spoken in about 0.2 s. After this long per character, and `slack`, the idle reply may be lost.
    expected_per_character: float = 0.25
    #: Digits and letters may be spelled out; longer than this a text never takes.
    limit_per_character: float = 0.5
    slack: float = 2.0
    limit_slack: float = 10.0
    #: Between status queries when the text should have ended.
    overdue_poll: float = 5.0
