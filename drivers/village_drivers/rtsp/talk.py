"""Sound to a camera's loudspeaker: the RTSP back channel of ONVIF (Streaming Specification, section 5.3)."""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from village_drivers.kit import DriverError, Misconfigured, NotConnected, Refused
from village_drivers.rtsp.connection import Answer, RtspConnection
from village_drivers.rtsp.g711 import MU_TO_A
from village_drivers.rtsp.sdp import BackChannel, NoBackChannel, find_back_channel
from village_drivers.rtsp.source import StreamSource
from village_drivers.sound.pcm import MU_LAW
from village_drivers.sound.sinks import Sink

_REQUIRE = {"Require": "www.onvif.org/ver20/backchannel"}
_RTP = struct.Struct(">BBHII")
_CHANNEL = 0
#: Cameras end a session after 60 s without a request, if they name no other time.
_KEEP_ALIVE_SECONDS = 20.0
#: A camera that takes nothing for so long is gone: two seconds of sound.
_MAX_BACKLOG_BYTES = 2 * 8000
#: Behind its schedule by more than this is a pause, not a delay to catch up.
_LATE_SECONDS = 0.1
#: What a camera may buffer before it plays: the session is kept for so long after the last packet.
_DRAIN_SECONDS = 0.5
_GOODBYE_SECONDS = 2.0


@asynccontextmanager
async def open_talk(source: StreamSource, connect_seconds: float) -> AsyncIterator[Sink]:
    """Open the back channel of a camera for one sound.

    Raises:
        Refused: the camera has no back channel for G.711, or it is in use.
        Misconfigured: it does not accept user name and password.
        NotConnected: it can't be reached, or ends the connection while it is talked to.
    """
    failures: list[DriverError] = []
    try:
        async with asyncio.timeout(connect_seconds):
            connection = await RtspConnection.open(
                source.host, source.port, source.login, tls=source.address.startswith("rtsps:")
            )
    except TimeoutError:
        where = f"{source.host}:{source.port}"
        raise NotConnected("unreachable", f"{where} does not answer in {connect_seconds:g} s") from None
    try:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(connection.listen(), name="back channel listens")
            try:
                async with asyncio.timeout(connect_seconds):
                    channel = await _set_up(connection, source.address)
            except TimeoutError:
                raise NotConnected("no_answer", f"the camera did not answer in {connect_seconds:g} s") from None
            alive = group.create_task(_keep_alive(connection, channel.aggregate), name="back channel keeps alive")
            try:
                yield _TalkSink(connection, channel)
            finally:
                alive.cancel()
                await asyncio.wait([alive])
                with suppress(DriverError, TimeoutError):
                    async with asyncio.timeout(_GOODBYE_SECONDS):
                        await connection.request("TEARDOWN", channel.aggregate, _REQUIRE)
                listening.cancel()
    except* DriverError as errors:
        failures += _leaves(errors)
    finally:
        connection.close()
    if failures:
        raise failures[0]


def _leaves(group: BaseExceptionGroup[DriverError]) -> list[DriverError]:
    found: list[DriverError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _set_up(connection: RtspConnection, address: str) -> BackChannel:
    described = await connection.request("DESCRIBE", address, {"Accept": "application/sdp", **_REQUIRE})
    _expect(described, "DESCRIBE")
    base = described.header("content-base") or described.header("content-location") or address
    try:
        channel = find_back_channel(described.body.decode(errors="replace"), base)
    except NoBackChannel as error:
        raise Refused("rejected", str(error)) from error
    transport = {"Transport": f"RTP/AVP/TCP;unicast;interleaved={_CHANNEL}-{_CHANNEL + 1}", **_REQUIRE}
    _expect(await connection.request("SETUP", channel.control, transport), "SETUP")
    _expect(await connection.request("PLAY", channel.aggregate, {"Range": "npt=0.000-", **_REQUIRE}), "PLAY")
    return channel


def _expect(answer: Answer, method: str) -> None:
    if answer.status in (401, 403):
        raise Misconfigured("unauthorised", f"the camera answers {answer.status} to this user name and password")
    if answer.status == 551:
        raise Refused("rejected", "the camera knows no back channel (551)")
    if answer.status != 200:
        raise Refused("rejected", f"the camera answers {answer.status} {answer.reason} to {method}".rstrip())


async def _keep_alive(connection: RtspConnection, uri: str) -> None:
    while True:
        await asyncio.sleep(_KEEP_ALIVE_SECONDS)
        await connection.request("GET_PARAMETER", uri, _REQUIRE)


class _TalkSink:
    """Sends one packet each 20 ms."""

    def __init__(self, connection: RtspConnection, channel: BackChannel) -> None:
        self._connection = connection
        self._payload_type = channel.payload_type
        self._table = MU_TO_A if channel.codec == "PCMA" else None
        self._source = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._sent = 0
        self._due: float | None = None

    @property
    def heard_bytes(self) -> int:
        return self._sent

    async def write(self, block: bytes) -> None:
        now = time.monotonic()
        resumes = self._due is None or now - self._due > _LATE_SECONDS
        if self._due is None:
            self._due = now
        elif resumes:
            # The pause is told by the timestamp, so that the camera does not take it for packets that are late.
            self._timestamp += round((now - self._due) * MU_LAW.rate)
            self._due = now
        await asyncio.sleep(self._due - now)
        if self._connection.backlog_bytes > _MAX_BACKLOG_BYTES:
            raise NotConnected("unreachable", "the camera takes no sound any more")
        marker = 0x80 if resumes else 0
        head = _RTP.pack(
            0x80, marker | self._payload_type, self._sequence & 0xFFFF, self._timestamp & 0xFFFFFFFF, self._source
        )
        self._connection.send_packet(_CHANNEL, head + block.translate(self._table))
        self._sequence += 1
        self._timestamp += len(block)
        self._sent += len(block)
        self._due += MU_LAW.seconds(len(block))

    async def finish(self) -> None:
        if self._due is not None:
            await asyncio.sleep(self._due - time.monotonic() + _DRAIN_SECONDS)
