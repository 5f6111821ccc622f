"""Which broker, how to log in, and how this program appears there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from village_wire.outgoing import Publication


class SessionError(Exception):
    """The broker can't be reached or the connection ended; trying again may help."""


class NotAuthorised(SessionError):
    """The broker refuses this client's credentials; only a person can help."""


class CertificateRefused(NotAuthorised):
    """The broker refuses this client's certificate."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is and how to log in. `url` is `mqtt://host[:1883]` or `mqtts://host[:8883]`."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @property
    def host(self) -> str:
        """Name or address of the broker."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port, by default 1883 or, with TLS, 8883."""
        return urlsplit(self.url).port or (8883 if self.secure else 1883)

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"

    def check(self) -> None:
        """Raise `ValueError`, naming the reason, for a URL that is not a broker's."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"mqtt", "mqtts"}:
            raise ValueError("a broker's URL starts with mqtt:// or mqtts://")
        if not parts.hostname:
            raise ValueError("a broker's URL names a host, as in mqtt://127.0.0.1:1883")
        if parts.username or parts.password:
            raise ValueError("user name and password have keys of their own, not a place in the URL")
        _ = parts.port


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic filter. `retained` asks for the messages that the broker keeps."""

    topic_filter: str
    qos: int = 1
    retained: bool = True


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How this program appears at the broker. `expiry` is the session expiry interval in seconds; 0 keeps no session.

    `will` is the last will, or is called for one at each connection. `check_time` is called, in a thread, before each connection with TLS
    and tells whether this machine has a clock by which the broker's certificate can be judged.
    """

    address: BrokerAddress
    client_id: str
    will: Publication | Callable[[], Publication] | None = None
    keep_alive: int = 60
    expiry: int = 0
    check_time: Callable[[], bool] = lambda: True
