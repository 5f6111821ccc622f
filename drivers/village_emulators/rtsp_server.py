"""A small RTSP 1.0 server (RFC 2326) for one H.264 stream that arrives as RTP packets, with faults to switch on.

It serves OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN and GET_PARAMETER, over interleaved TCP and over UDP, with Digest
authentication (RFC 2617) if it has a user.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: A request is a handful of headers.
_MAX_REQUEST_BYTES = 8192
#: What a client that does not read may cost; then its packets are lost, as a camera loses them.
_MAX_BACKLOG_BYTES = 1024 * 1024
_REALM = "village camera"
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    461: "Unsupported Transport",
    501: "Not Implemented",
}
_IDR, _STAP_A, _FU_A = 5, 24, 28


class BadRequest(ValueError):
    """A request that is no RTSP."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]


def parse_request(data: bytes) -> Request:
    """Parse a request up to its empty line. Raises `BadRequest`."""
    first, *rest = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] != "RTSP/1.0":
        raise BadRequest(f"not a request line: {first[:80]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return Request(words[0], words[1], headers)


def has_key_frame(packet: bytes) -> bool:
    """Whether an RTP packet of H.264 (RFC 6184) carries a part of a key frame (IDR); False for anything malformed."""
    start = 12 + 4 * (packet[0] & 0x0F) if packet else 0
    payload = packet[start:]
    if len(payload) < 2:
        return False
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        return payload[1] & 0x1F == _IDR
    if kind != _STAP_A:
        return kind == _IDR
    at = 1
    while at + 2 < len(payload):
        if payload[at + 2] & 0x1F == _IDR:
            return True
        at += 2 + int.from_bytes(payload[at : at + 2], "big")
    return False


@dataclass
class Stream:
    """What is served, and what is wrong with it. All may be changed while clients play."""

    path: str
    sdp: str
    user: str = ""
    password: str = field(default="", repr=False)
    frozen: bool = False
    key_frames: bool = True


class _Client:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.session = secrets.token_hex(4)
        self.nonce = secrets.token_hex(16)
        self.channel: int | None = None
        self.address: tuple[str, int] | None = None
        self.playing = False


class RtspServer:
    """Serves one stream to any number of clients: `start`, `forward` packets, `close`."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.port = 0
        self._clients: set[_Client] = set()
        self._sequence = 0
        self._server: asyncio.Server | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one, to be read from `port`. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._datagrams, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(host, 0))
        self._server = await asyncio.start_server(self._accept, host, port, limit=_MAX_REQUEST_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hang up on everybody and stop listening."""
        if self._server is not None:
            self._server.close()
        if self._datagrams is not None:
            self._datagrams.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def forward(self, packet: bytes) -> None:
        """Send one RTP packet to all who play, unless a fault says otherwise."""
        if self.stream.frozen or len(packet) < 12 or not (self.stream.key_frames or not has_key_frame(packet)):
            return
        # Numbered anew, so that what is left out does not look like loss on the way.
        self._sequence = (self._sequence + 1) & 0xFFFF
        packet = packet[:2] + self._sequence.to_bytes(2, "big") + packet[4:]
        for client in self._clients:
            if not client.playing:
                continue
            if client.address is not None and self._datagrams is not None:
                self._datagrams.sendto(packet, client.address)
            elif client.channel is not None and client.writer.transport.get_write_buffer_size() < _MAX_BACKLOG_BYTES:
                client.writer.write(b"$" + bytes([client.channel]) + len(packet).to_bytes(2, "big") + packet)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="RTSP client")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(writer)
        self._clients.add(client)
        try:
            while True:
                first = await reader.readexactly(1)
                if first == b"$":
                    # The client's RTCP reports say nothing that matters here.
                    head = await reader.readexactly(3)
                    await reader.readexactly(int.from_bytes(head[1:], "big"))
                    continue
                request = parse_request(first + await reader.readuntil(b"\r\n\r\n"))
                writer.write(self._answer(client, request))
                await writer.drain()
                if request.method == "TEARDOWN":
                    return
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, BadRequest, ConnectionError):
            return
        finally:
            self._clients.discard(client)
            writer.close()

    def _answer(self, client: _Client, request: Request) -> bytes:
        reply, headers, body = 200, {}, ""
        if request.method == "OPTIONS":
            headers["Public"] = _METHODS
        elif not self._authorised(client, request):
            reply, headers = 401, {"WWW-Authenticate": f'Digest realm="{_REALM}", nonce="{client.nonce}"'}
        elif not urlsplit(request.url).path.startswith(self.stream.path):
            reply = 404
        elif request.method == "DESCRIBE":
            headers = {"Content-Base": f"{request.url}/", "Content-Type": "application/sdp"}
            body = self.stream.sdp
        elif request.method == "SETUP":
            transport = self._set_up(client, request.headers.get("transport", ""))
            if transport:
                headers = {"Transport": transport, "Session": f"{client.session};timeout=60"}
            else:
                reply = 461
        elif request.method == "PLAY":
            client.playing = True
            headers = {"Session": client.session, "Range": "npt=0.000-"}
        elif request.method in ("TEARDOWN", "GET_PARAMETER"):
            headers = {"Session": client.session}
        else:
            reply = 501
        headers |= {"CSeq": request.headers.get("cseq", "0")}
        if body:
            headers["Content-Length"] = str(len(body.encode()))
        lines = [
            f"RTSP/1.0 {reply} {_REASONS[reply]}",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            body,
        ]
        return "\r\n".join(lines).encode()

    def _set_up(self, client: _Client, wanted: str) -> str:
        if interleaved := re.search(r"RTP/AVP/TCP\b.*interleaved=(\d{1,3})-", wanted):
            channel = int(interleaved[1]) & 0xFF
            client.channel, client.address = channel, None
            return f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        if (ports := re.search(r"client_port=(\d{1,5})-", wanted)) and self._datagrams is not None:
            port = int(ports[1])
            client.channel, client.address = None, (client.writer.get_extra_info("peername")[0], port)
            own = self._datagrams.get_extra_info("sockname")[1]
            return f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={own}-{own + 1}"
        return ""

    def _authorised(self, client: _Client, request: Request) -> bool:
        if not self.stream.user:
            return True
        given = dict(re.findall(r'(\w+)="([^"]*)"', request.headers.get("authorization", "")))
        if given.get("username") != self.stream.user or given.get("nonce") != client.nonce:
            return False
        secret = _md5(f"{self.stream.user}:{_REALM}:{self.stream.password}")
        act = _md5(f"{request.method}:{given.get('uri', '')}")
        expected = _md5(f"{secret}:{client.nonce}:{act}")
        return hmac.compare_digest(expected, given.get("response", ""))


def _md5(text: str) -> str:
    # RFC 2617 knows nothing better, and cameras speak it.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
