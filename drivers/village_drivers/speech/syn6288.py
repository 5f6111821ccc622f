"""The SYN6288 Chinese speech chip."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from village_drivers.kit import DriverConfig, Services
from village_drivers.speech import syn6288_frames as frames
from village_drivers.speech.chip import SpeechChip
from village_drivers.speech.chip_type import ChipType, SpeechConfig


class Syn6288Config(SpeechConfig):
    """Settings of a SYN6288."""

    baudrate: Literal[9600, 19200, 38400] = Field(
        9600,
        description="Baud rate; the chip starts at 9600. 波特率，芯片上电默认为 9600。",
        examples=[9600],
    )


class Syn6288(SpeechChip):
    """Driver of a loudspeaker with a SYN6288."""

    Config: ClassVar[type[DriverConfig]] = Syn6288Config
    chip = ChipType(
        name="SYN6288",
        max_text_bytes=frames.MAX_TEXT_BYTES,
        loudest=frames.LOUDEST,
        wide="utf-16-be",
        gap_s=frames.FRAME_GAP_S,
        stop=frames.STOP,
        status=frames.STATUS,
        say=frames.say,
    )

    def __init__(self, config: Syn6288Config, services: Services) -> None:
        super().__init__(config, config.baudrate, services)
