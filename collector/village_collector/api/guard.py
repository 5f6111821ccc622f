"""What every request passes first: whom it is addressed to, where it comes from, and how long it is.

A web page in somebody's browser must reach nothing here, neither by a cross-site request nor by a name of its own that it points at
this machine (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from village_collector.api.problems import BodyTooLarge, Problem, problem_response
from village_collector.cap.document import MAX_BYTES as MAX_ALERT_BYTES
from village_wire.broadcasts import MAX_AUDIO_BYTES
from village_wire.schedules import MAX_SCHEDULE_BYTES

_log = logging.getLogger(__name__)

#: The longest JSON body is a spoken text of 2,000 characters.
MAX_BODY_BYTES = 64 * 1024
#: A picture of a 4K camera in JPEG is 1 to 3 MB.
MAX_UPLOAD_BYTES = 4 * 1024 * 1024
UPLOAD_PREFIX = "/api/v1/uploads/"
AUDIO_PATH = "/api/v1/audio"
#: Two hours of live voice at twice the rate that speech needs.
MAX_VOICE_BYTES = 64 * 1024 * 1024
CAP_PATH = "/api/v1/cap"
SCHEDULES_PATH = "/api/v1/schedules"
#: Request line and headers together; a token, a path and what a browser adds are 2 KB.
MAX_HEAD_BYTES = 16 * 1024
#: Browsers send some 20.
MAX_HEADERS = 64
#: The longest path holds an agent, a device and a UUID; a query at most a dozen parameters.
MAX_PATH_BYTES, MAX_QUERY_BYTES, MAX_PARAMETERS = 1024, 4096, 32
#: Answers hold what only the caller may see, are never a page, and are what they say they are.
_ANSWER_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_NOT_KEPT = (b"cache-control", b"no-store")

#: Takes the caller's address, method and path, and the reason.
Refused = Callable[[str, str, str], Awaitable[None]]


class Guard:
    """ASGI middleware. Refuses foreign and cross-site requests, counts bodies, and turns unforeseen errors into answers."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = (), refused: Refused | None = None) -> None:
        """`hosts` are names, lower case and without port, that are accepted beside the loopback ones.

        `refused` is told of foreign and cross-site requests.
        """
        self._app = app
        self._refused = refused
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; there are no WebSockets."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            await send(_with_headers(message))

        limit = _body_limit(scope["path"])
        refused = self._judge(scope, limit)
        if refused is not None:
            if refused.advice == "foreign" and self._refused is not None:
                client = scope.get("client")
                await self._refused(client[0] if client else "", f"{scope['method']} {scope['path']}", refused.detail)
            await problem_response(refused)(scope, receive, answer)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(_with_headers(message))

        try:
            await self._app(scope, _counted(receive, limit), watched)
        except asyncio.CancelledError:
            if started:
                raise
            # The server stops: who waits for news is told so, and asks again.
            await problem_response(Problem(503, "the collector stops", "stopping"))(scope, receive, answer)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            # Half an answer can't be turned into another one: the server breaks the connection off.
            if started:
                raise
            await problem_response(Problem(500, "unexpected error; the collector's log has the details", "fault"))(
                scope, receive, answer
            )

    def _judge(self, scope: Scope, limit: int) -> Problem | None:
        found = _too_long(scope)
        if found is not None:
            return found
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = _host_of(f"//{hosts[0]}") if len(hosts) == 1 else None
        if host is None or not (_is_loopback(host) or host in self._hosts):
            return Problem(421, "this Host is not the collector's", "foreign")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{hosts[0]}".lower(), f"https://{hosts[0]}".lower()}:
            return Problem(403, "requests from other web pages are refused", "foreign")
        follows_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not follows_link:
            return Problem(403, "requests from other web pages are refused", "foreign")
        if "transfer-encoding" in headers and "content-length" in headers:
            # A proxy in front may believe the other of the two, and take the rest of one request for the next (RFC 9112, 6.1).
            problem = Problem(400, "a body has either a length or chunks", "bad_request")
            problem.headers["Connection"] = "close"
            return problem
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            return Problem(413, f"the body is over the limit of {limit} bytes", "too_large")
        return None


def is_voice(path: str) -> bool:
    """Tell whether a request of this path has a body that lasts as long as somebody speaks."""
    return path.startswith("/api/v1/live/") and path.endswith("/voice")


def _body_limit(path: str) -> int:
    if is_voice(path):
        return MAX_VOICE_BYTES
    if path == AUDIO_PATH:
        return MAX_AUDIO_BYTES
    if path == CAP_PATH:
        return MAX_ALERT_BYTES
    if path == SCHEDULES_PATH:
        # Programmes as they are signed, with the escapes of a writer that knows ASCII only.
        return 2 * MAX_SCHEDULE_BYTES
    return MAX_UPLOAD_BYTES if path.startswith(UPLOAD_PREFIX) else MAX_BODY_BYTES


def _too_long(scope: Scope) -> Problem | None:
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
        return Problem(431, f"more than {MAX_HEADERS} headers, or {MAX_HEAD_BYTES} bytes of them", "too_large")
    query = scope.get("query_string", b"")
    if len(scope["path"]) > MAX_PATH_BYTES or len(query) > MAX_QUERY_BYTES:
        return Problem(414, f"a path over {MAX_PATH_BYTES} or a query over {MAX_QUERY_BYTES} bytes", "too_large")
    if query.count(b"&") >= MAX_PARAMETERS:
        return Problem(400, f"more than {MAX_PARAMETERS} parameters", "bad_request")
    return None


def _with_headers(message: Message) -> Message:
    if message["type"] != "http.response.start":
        return message
    headers = [*message.get("headers", ()), *_ANSWER_HEADERS]
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers.append(_NOT_KEPT)
    return {**message, "headers": headers}


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(limit)
        return message

    return counted


def _host_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
