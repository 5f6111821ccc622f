"""The XFS5152CE Chinese and English speech chip."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from village_drivers.kit import DriverConfig, Services
from village_drivers.speech import xfs5152_frames as frames
from village_drivers.speech.chip import SpeechChip
from village_drivers.speech.chip_type import ChipType, SpeechConfig


class Xfs5152Config(SpeechConfig):
    """Settings of an XFS5152CE."""

    baudrate: Literal[4800, 9600, 57600, 115200] = Field(
        9600,
        description="Baud rate, as set by the pins BAUD1 and BAUD2. 波特率，由引脚 BAUD1、BAUD2 决定。",
        examples=[9600],
    )


class Xfs5152(SpeechChip):
    """Driver of a loudspeaker with an XFS5152CE."""

    Config: ClassVar[type[DriverConfig]] = Xfs5152Config
    chip = ChipType(
        name="XFS5152CE",
        max_text_bytes=frames.MAX_TEXT_BYTES,
        loudest=frames.LOUDEST,
        wide="utf-16-le",
        gap_s=frames.FRAME_GAP_S,
        stop=frames.STOP,
        status=frames.STATUS,
        say=frames.say,
    )

    def __init__(self, config: Xfs5152Config, services: Services) -> None:
        super().__init__(config, config.baudrate, services)
