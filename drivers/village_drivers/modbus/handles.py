"""What the devices of a board can do."""

from __future__ import annotations

from typing import Protocol

from village_drivers.modbus.config import Register, Relay


class Board(Protocol):
    """What carries it out; `ModbusBoard` is such."""

    async def command(self, relay: Relay, on: bool, seconds: float | None) -> None:
        """Switch a relay, for some seconds or for good; raises as `abilities.Switch`."""

    async def measure(self, register: Register) -> float:
        """Return the scaled value of a register; raises as `abilities.Meter`."""


class RelaySwitch:
    """The `Switch` ability of a relay."""

    def __init__(self, board: Board, relay: Relay) -> None:
        self._board = board
        self._relay = relay

    async def switch(self, on: bool) -> None:
        """As `abilities.Switch.switch`; the coil is read back."""
        await self._board.command(self._relay, on, None)


class RelayLock:
    """The `Door` ability of a relay that releases a lock."""

    def __init__(self, board: Board, relay: Relay) -> None:
        self._board = board
        self._relay = relay

    async def unlock(self, seconds: float) -> None:
        """As `abilities.Door.unlock`; the coil is read back. A second call while the lock is open prolongs it."""
        await self._board.command(self._relay, True, seconds)


class RegisterMeter:
    """The `Meter` ability of a register."""

    def __init__(self, board: Board, register: Register) -> None:
        self._board = board
        self._register = register

    async def measure(self) -> float:
        """As `abilities.Meter.measure`: what the register holds now, scaled as its readings are."""
        return await self._board.measure(self._register)
