"""Where a camera's stream is, and how ffmpeg is told so that no password stands in the process list or in an error."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from village_drivers.kit import DriverError, Misconfigured, NotConnected
from village_drivers.rtsp.authorisation import Login

#: ffmpeg looks at the stream for so long before it lets packets through; cameras describe it in the SDP anyhow.
_ANALYSE_MICROSECONDS = 1_000_000
_DEFAULT_PORT = {"rtsp": 554, "rtsps": 322}
_WANTED = "must look like rtsp://HOST[:PORT]/PATH"
_STATUS = re.compile(r"method \w+ failed: (\d{3})|Server returned (\d{3})")


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A stream. `url` holds the credentials."""

    url: str = field(repr=False)
    host: str
    port: int
    transport: Literal["tcp", "udp"]
    secrets: tuple[str, ...] = field(repr=False)
    #: The same without credentials.
    address: str = ""
    login: Login | None = None

    @classmethod
    def make(cls, url: str, username: str, password: str, transport: Literal["tcp", "udp"]) -> StreamSource:
        """Put a source together. User name and password may stand in the URL instead, percent-encoded. Raises `ValueError`."""
        if not url.isprintable():
            raise ValueError("must not hold control characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # The library's own text shows a part of the password.
            raise ValueError(f"{_WANTED}, special characters of a password percent-encoded") from None
        if parts.scheme not in _DEFAULT_PORT or not parts.hostname:
            raise ValueError(_WANTED)
        if parts.username is not None:
            if username or password:
                raise ValueError("holds a user name already: give it only once")
            username, password = unquote(parts.username), unquote(parts.password or "")
        port = port or _DEFAULT_PORT[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        login = f"{quote(username, safe='')}:{quote(password, safe='')}@" if username or password else ""
        whole = urlunsplit((parts.scheme, f"{login}{host}:{port}", parts.path, parts.query, ""))
        hidden = (login, quote(password, safe=""), password, parts.password or "")
        bare = urlunsplit((parts.scheme, f"{host}:{port}", parts.path, parts.query, ""))
        secrets = tuple(sorted({*hidden} - {""}, key=len, reverse=True))
        return cls(whole, parts.hostname, port, transport, secrets, bare, Login(username, password) if login else None)

    def script(self) -> bytes:
        """The playlist that goes to ffmpeg's stdin (its `concat` demuxer): arguments stand in the process list."""
        quoted = self.url.replace("'", "'\\''")
        lines = (
            "ffconcat version 1.0",
            f"file '{quoted}'",
            f"option rtsp_transport {self.transport}",
            f"option analyzeduration {_ANALYSE_MICROSECONDS}",
            "option fpsprobesize 0",
        )
        return "\n".join(lines).encode() + b"\n"

    def arguments(self) -> tuple[str, ...]:
        """Ffmpeg's input arguments that belong to `script`."""
        return (
            "-safe", "0", "-analyzeduration", str(_ANALYSE_MICROSECONDS), "-fpsprobesize", "0",
            "-protocol_whitelist", "pipe,rtsp,tcp,udp,rtp,tls,crypto", "-f", "concat", "-i", "pipe:0", "-map", "0:v:0",
        )  # fmt: skip

    @property
    def hide(self) -> Callable[[str], str]:
        """A function that takes user name and password out of a text."""
        return self._hide

    def _hide(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***@" if secret.endswith("@") else "***")
        return text

    async def reach(self, seconds: float) -> None:
        """Raise `NotConnected` unless something listens at the camera's port."""
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            raise NotConnected("unreachable", f"{self.host}:{self.port} does not answer in {seconds:g} s") from None
        except OSError as error:
            raise NotConnected("unreachable", f"{self.host}:{self.port}: {error.strerror or error}") from error
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def failure(self, complaint: str) -> DriverError:
        """Return the error that ffmpeg's last words, already without secrets, mean."""
        found = _STATUS.search(complaint)
        status = int(found[1] or found[2]) if found else 0
        if status in (401, 403):
            return Misconfigured(
                "unauthorised", f"{self.host}:{self.port} answers {status} to this user name and password"
            )
        if status:
            return NotConnected("rejected", f"{self.host}:{self.port} answers {status}: {complaint}")
        if not complaint:
            return NotConnected("no_packets", f"{self.host}:{self.port} ended the stream")
        return NotConnected("program_failed", complaint)
