"""A question and its answer over a serial line (RTU) or TCP."""

from __future__ import annotations

import asyncio
from typing import Protocol

from village_drivers.kit import NotConnected, Refused
from village_drivers.modbus.frames import (
    HEADER,
    MAX_FRAME,
    ExceptionAnswer,
    InvalidAnswer,
    Request,
    decode_answer,
    decode_header,
    encode_rtu,
    encode_tcp,
    find_rtu,
)
from village_drivers.serial_line import SerialLine

#: A serial frame can be lost to noise; a second loss in a row is a fault.
ATTEMPTS = 2
#: Boards answer within 50 ms; slow gateways take a few hundred.
ANSWER_SECONDS = 0.5
#: A gateway waits for its own serial line before it answers.
TCP_SECONDS = 3.0
_BITS_PER_BYTE = 10


class Link(Protocol):
    """A connection to one unit."""

    async def ask(self, request: Request) -> list[int]:
        """Send a request and return the values of its answer.

        Raises:
            Refused: the device answered with an exception; the text is its number and name.
            NotConnected: no answer, or the line is gone.
        """

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""


class RtuLink:
    """One unit on a serial line."""

    def __init__(self, line: SerialLine, unit: int, baudrate: int) -> None:
        self._line = line
        self._unit = unit
        self._wait = ANSWER_SECONDS + MAX_FRAME * _BITS_PER_BYTE / baudrate
        # Silence of 3.5 characters between frames, 1.75 ms above 19200 baud (Serial Line V1.02, section 2.5.1.1).
        self._silence = max(3.5 * 11 / baudrate, 0.00175)

    async def ask(self, request: Request) -> list[int]:
        """As `Link.ask`."""
        heard = 0
        for _ in range(ATTEMPTS):
            await asyncio.sleep(self._silence)
            self._line.discard_input()
            await self._line.write(encode_rtu(self._unit, request))
            received = b""
            try:
                async with asyncio.timeout(self._wait):
                    while True:
                        # An answer ends what came in before it, so only the newest bytes can hold one.
                        fresh = await self._line.read()
                        heard += len(fresh)
                        received = (received + fresh)[-2 * MAX_FRAME :]
                        pdu = find_rtu(self._unit, request, received)
                        if pdu is not None:
                            return decode_answer(request, pdu)
            except TimeoutError:
                continue
            except InvalidAnswer:
                continue
            except ExceptionAnswer as error:
                raise Refused("rejected", str(error)) from None
        if heard:
            raise NotConnected(
                "noise", f"{self._line.path}: {heard} bytes came in that are no answer of unit {self._unit}"
            )
        raise NotConnected("no_answer", f"{self._line.path}: unit {self._unit} does not answer")

    def close(self) -> None:
        """As `Link.close`."""
        self._line.close()


class TcpLink:
    """One unit behind a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, unit: int, address: str) -> None:
        self._reader = reader
        self._writer = writer
        self._unit = unit
        self._address = address
        self._transaction = 0

    @classmethod
    async def connect(cls, host: str, port: int, unit: int) -> TcpLink:
        """Connect; raises `NotConnected`."""
        address = f"{host}:{port}"
        try:
            async with asyncio.timeout(TCP_SECONDS):
                reader, writer = await asyncio.open_connection(host, port, limit=2 * MAX_FRAME)
        except TimeoutError:
            raise NotConnected("unreachable", f"{address}: no connection within {TCP_SECONDS:g} s") from None
        except OSError as error:
            raise NotConnected("unreachable", f"{address}: {error.strerror or error}") from None
        return cls(reader, writer, unit, address)

    async def ask(self, request: Request) -> list[int]:
        """As `Link.ask`. After `NotConnected` the connection is of no more use: a late answer could be taken for the next one's."""
        self._transaction = self._transaction % 0xFFFF + 1
        try:
            async with asyncio.timeout(TCP_SECONDS):
                self._writer.write(encode_tcp(self._unit, self._transaction, request))
                await self._writer.drain()
                while True:
                    transaction, length = decode_header(await self._reader.readexactly(HEADER))
                    pdu = await self._reader.readexactly(length)
                    if transaction == self._transaction:
                        return decode_answer(request, pdu)
        except TimeoutError:
            raise NotConnected("no_answer", f"{self._address}: unit {self._unit} does not answer") from None
        except (asyncio.IncompleteReadError, OSError):
            raise NotConnected("unreachable", f"{self._address}: the connection was closed") from None
        except InvalidAnswer as error:
            raise NotConnected("noise", f"{self._address}: {error}") from None
        except ExceptionAnswer as error:
            raise Refused("rejected", str(error)) from None

    def close(self) -> None:
        """As `Link.close`."""
        self._writer.close()
