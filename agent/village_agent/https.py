"""One HTTP request to the collector: no proxy, no redirection, a bound on size and time. Blocks; run it in a thread."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from village_wire.tls import NO_CHECK_TIME

if TYPE_CHECKING:
    import http.client

#: Of one step on the way (name, connection, handshake, each piece of the answer).
STEP_SECONDS = 20.0
#: Of a whole answer, which a far end could otherwise send byte by byte.
ANSWER_SECONDS = 60.0
_PIECE = 16 * 1024


class NotReached(Exception):
    """There is no answer that can be used; the text is the reason."""


class Answer(NamedTuple):
    """An answer of whatever status."""

    status: int
    reason: str
    body: bytes


def trust(
    authority: Path | str | None, *, system: bool = True, check_time: bool = True, check: bool = True
) -> ssl.SSLContext:
    """Return whom to trust: certificates of a file or in a text (PEM), and those of the system's store.

    `check_time` false leaves their validity periods aside, for a box without a clock. `check` false trusts anybody.

    Raises:
        NotReached: the file can't be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not check:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if isinstance(authority, Path):
            context.load_verify_locations(cafile=authority)
        elif authority is not None:
            context.load_verify_locations(cadata=authority)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise NotReached(f"{authority if isinstance(authority, Path) else 'the authority'}: {error}") from None
    if system:
        context.load_default_certs()
    if not check_time:
        context.verify_flags |= NO_CHECK_TIME
    return context


def open_connection(url: str, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a connection to the host of an http or https URL, not made yet; `context` is for https."""
    # Costs half a megabyte and is seldom needed.
    import http.client

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=STEP_SECONDS, context=context)
    return http.client.HTTPConnection(host, port, timeout=STEP_SECONDS)


def call(
    method: str,
    url: str,
    context: ssl.SSLContext | None,
    *,
    limit: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to an http or https URL and return the answer; `context` is for https, `limit` for the answer's bytes.

    Raises:
        NotReached: no connection, a certificate that is not trusted, no answer in time, or one that is too long or no HTTP.
    """
    # Costs half a megabyte and is seldom needed.
    import http.client

    parts = urlsplit(url)
    deadline = time.monotonic() + ANSWER_SECONDS
    connection = open_connection(url, context)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        pieces: list[bytes] = []
        while piece := response.read1(_PIECE):
            pieces.append(piece)
            if sum(map(len, pieces)) > limit:
                raise NotReached(f"the answer is longer than {limit} bytes")
            if time.monotonic() > deadline:
                raise NotReached(f"the answer takes longer than {ANSWER_SECONDS:.0f} s")
        return Answer(response.status, response.reason, b"".join(pieces))
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"the certificate of {parts.netloc} is refused: {error.verify_message}") from None
    except TimeoutError:
        raise NotReached(f"{parts.netloc} did not answer within {STEP_SECONDS:.0f} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotReached(
            f"{parts.netloc}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        ) from None
    finally:
        connection.close()
