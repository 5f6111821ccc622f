"""A small RTSP 1.0 client (RFC 2326) over one TCP connection that also carries the packets (interleaved)."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from village_drivers.kit import NotConnected
from village_drivers.rtsp.authorisation import Challenge, Login, choose_challenge

#: A description of a camera is 1 to 4 KiB.
MAX_BODY_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 16 * 1024
_MAX_HEADERS = 100
_STATUS = re.compile(rb"RTSP/\d\.\d (\d{3})(?: (.*))?")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. Header names are in lower case; one that came several times has several values."""

    status: int
    reason: str
    headers: Mapping[str, tuple[str, ...]]
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty text."""
        return self.headers.get(name, ("",))[0]


class InvalidAnswer(ValueError):
    """What came is no RTSP."""


def parse_head(data: bytes) -> tuple[Answer, int]:
    """Parse a response up to its empty line; return it, still without its body, and the length of that.

    Raises `InvalidAnswer`.
    """
    first, *rest = data.rstrip(b"\r\n").split(b"\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise InvalidAnswer(f"the camera answers no RTSP: {first[:60].decode('latin-1')!r}")
    headers: dict[str, tuple[str, ...]] = {}
    for line in rest[:_MAX_HEADERS]:
        name, _, value = line.decode("latin-1").partition(":")
        key = name.strip().lower()
        headers[key] = (*headers.get(key, ()), value.strip())
    answer = Answer(int(found[1]), (found[2] or b"").decode("latin-1"), headers)
    length = answer.header("content-length") or "0"
    if not length.isascii() or not length.isdigit() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
        raise InvalidAnswer(f"the camera announces a body of {length[:20]!r} bytes")
    return answer, int(length)


class RtspConnection:
    """An open connection; `requests` are made one at a time, `send_packet` at any time while `listen` runs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, login: Login | None) -> None:
        self._reader = reader
        self._writer = writer
        self._login = login
        self._challenge: Challenge | None = None
        self._number = 0
        self._answers: asyncio.Queue[Answer] = asyncio.Queue(1)
        self.session = ""

    @classmethod
    async def open(cls, host: str, port: int, login: Login | None, *, tls: bool) -> RtspConnection:
        """Connect; raises `NotConnected`."""
        context = None
        if tls:
            # Cameras have certificates that nobody signed; ffmpeg, which reads their pictures, does not check them either.
            context = await asyncio.to_thread(ssl.create_default_context)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_MAX_HEAD_BYTES)
        except OSError as error:
            raise NotConnected("unreachable", f"{host}:{port}: {error.strerror or error}") from error
        return cls(reader, writer, login)

    async def listen(self) -> None:
        """Take in answers and throw packets away, until the connection ends; raises `NotConnected` then."""
        try:
            while True:
                first = await self._reader.readexactly(1)
                if first == b"$":
                    head = await self._reader.readexactly(3)
                    await self._reader.readexactly(int.from_bytes(head[1:], "big"))
                    continue
                answer, length = parse_head(first + await self._reader.readuntil(b"\r\n\r\n"))
                body = await self._reader.readexactly(length)
                await self._answers.put(Answer(answer.status, answer.reason, answer.headers, body))
        except InvalidAnswer as error:
            raise NotConnected("rejected", str(error)) from error
        except asyncio.LimitOverrunError:
            raise NotConnected("rejected", "the camera answers with endless headers") from None
        except (asyncio.IncompleteReadError, OSError):
            raise NotConnected("unreachable", "the camera closed the connection") from None

    async def request(self, method: str, uri: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Make a request, answering a challenge once; returns whatever status the camera answers."""
        answer = await self._once(method, uri, headers or {})
        challenge = choose_challenge(answer.headers.get("www-authenticate", ())) if answer.status == 401 else None
        if challenge is None or self._login is None:
            return answer
        self._challenge = challenge
        return await self._once(method, uri, headers or {})

    def send_packet(self, channel: int, packet: bytes) -> None:
        """Send a packet over an interleaved channel. Raises `NotConnected` when the camera takes no more."""
        if self._writer.is_closing():
            raise NotConnected("unreachable", "the camera closed the connection")
        self._writer.write(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)

    @property
    def backlog_bytes(self) -> int:
        """What was sent and the camera has not taken yet, as far as this process knows."""
        return self._writer.transport.get_write_buffer_size()

    def close(self) -> None:
        """Close without waiting."""
        self._writer.transport.abort()

    async def _once(self, method: str, uri: str, headers: Mapping[str, str]) -> Answer:
        self._number += 1
        lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: village-agent"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self.session:
            lines.append(f"Session: {self.session}")
        if self._challenge is not None and self._login is not None:
            lines.append(f"Authorization: {self._challenge.answer(self._login, method, uri, secrets.token_hex(8))}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = await self._answers.get()
        if session := answer.header("session"):
            self.session = session.partition(";")[0].strip()
        return answer
