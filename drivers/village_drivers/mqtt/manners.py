"""What a loudspeaker on MQTT needs of its driver, and what is known of it beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from village_drivers.mqtt.dialects import Order


class Link(Protocol):
    """How a loudspeaker reaches its device and its driver."""

    async def send(self, order: Order) -> bool:
        """Send a message; return False if the broker knows of nobody who listens there. Raises `NotConnected`."""

    def post(self, order: Order) -> None:
        """Send a message as soon as possible, without waiting; nothing happens without a connection."""

    def changed(self) -> None:
        """Condition, busy or volume may be others than before."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What is known of a device beforehand. `volume` in percent where a command names none."""

    volume: float
    seconds_per_character: float
    max_text_bytes: int
    #: Whether an availability topic tells that it is online.
    tells_availability: bool
    without_feedback: bool


async def either(work: Awaitable[object], seconds: float) -> None:
    """Wait for something, but no longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        # An outer timeout, that of a turn, comes as a cancellation.
        return
