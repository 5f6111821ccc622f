"""OSDP commands as libosdp takes them. Times on the wire are in tenths of a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import osdp_sys  # type: ignore[import-not-found]

from village_drivers.abilities import Colour

Command = Mapping[str, int | bool]

#: Capability codes for `Panel.items`.
OUTPUTS: Final[int] = osdp_sys.CAP_OUTPUT_CONTROL
LEDS: Final[int] = osdp_sys.CAP_READER_LED_CONTROL
BUZZERS: Final[int] = osdp_sys.CAP_READER_AUDIBLE_OUTPUT

#: libosdp's Python binding cuts a timer to one byte.
MAX_TENTHS = 255

_TEMPORARY_ON = 5
_SET_TEMPORARY = 2
_DEFAULT_TONE = 2
_COLOURS: Mapping[Colour, int] = {
    "red": osdp_sys.LED_COLOR_RED,
    "green": osdp_sys.LED_COLOR_GREEN,
    "amber": osdp_sys.LED_COLOR_AMBER,
    "blue": osdp_sys.LED_COLOR_BLUE,
}

#: Asks for tamper and power.
LOCAL_STATUS: Command = {"command": osdp_sys.CMD_STATUS, "type": osdp_sys.STATUS_REPORT_LOCAL}


def release(output: int, tenths: int) -> Command:
    """Switch an output on for a time; the reader itself switches it off again."""
    return {
        "command": osdp_sys.CMD_OUTPUT,
        "output_no": output,
        "control_code": _TEMPORARY_ON,
        "timer_count": min(tenths, MAX_TENTHS),
    }


def light(colour: Colour, tenths: int) -> Command:
    """Show a colour on the first LED for a time."""
    return {
        "command": osdp_sys.CMD_LED,
        "reader": 0,
        "led_number": 0,
        "temporary": True,
        "control_code": _SET_TEMPORARY,
        "on_count": 10,
        "off_count": 0,
        "on_color": _COLOURS[colour],
        "off_color": osdp_sys.LED_COLOR_NONE,
        "timer_count": min(tenths, MAX_TENTHS),
    }


def sound(tenths: int) -> Command:
    """Sound the buzzer every second for half a second."""
    return {
        "command": osdp_sys.CMD_BUZZER,
        "reader": 0,
        "control_code": _DEFAULT_TONE,
        "on_count": 5,
        "off_count": 5,
        # 0 would mean for ever.
        "rep_count": max(1, min(tenths // 10, MAX_TENTHS)),
    }
