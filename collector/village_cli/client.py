"""The HTTP API of the collector: requests, and every way in which an answer can be amiss.

A token goes to a server only after its certificate has passed, or to a program on this machine.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx

from village_cli.failures import UNREACHABLE, Failure
from village_cli.pinning import MAX_AUTHORITY_BYTES, context, only_certificate, refused, unverified_context
from village_cli.safety import escape_json
from village_cli.sessions import Session
from village_cli.times import duration
from village_wire.language import Bilingual

#: 10,000 devices take about 6 MB; what is far longer is no answer of a collector.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
#: The collector itself takes pictures of up to 4 MiB.
MAX_PICTURE_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
#: The collector waits up to 25 s for a picture, and as long as asked (at most 30 s) for results.
WAITING_SECONDS = 45.0
#: The collector may take so long to make a long file's loudness even.
CONVERTING_SECONDS = 960.0
#: 10,000 devices over 1 Mbit/s take 50 s; a server that goes on drop by drop must not hold up whoever watches.
MAX_TRANSFER_SECONDS = 120.0


#: The rights that a refusal names, in Chinese.
RIGHTS = {
    "view": "查看",
    "look": "看画面",
    "broadcast": "播报",
    "unlock": "开门",
    "maintain": "维护",
    "administer": "管理用户",
}

#: A few kilobytes can inflate to gigabytes before anybody counts them, and no collector compresses.
_PLAIN_ANSWERS = {"Accept-Encoding": "identity"}

QueryValue = str | float | Sequence[str]


class Unreachable(Failure):
    """No collector answers at the address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            Bilingual(f"No collector answers at {url}: {reason}.", f"采集端 {url} 无应答：{reason}。"),
            Bilingual(
                "Start it (village-collector run) or give its address with --url or VILLAGE_URL.",
                "请启动采集端（village-collector run），或用 --url 或 VILLAGE_URL 指定地址。",
            ),
            exit_code=UNREACHABLE,
            reason=reason,
        )


class NotACollector(Failure):
    """Something answers, but not as a collector of this version."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            Bilingual(
                f"What answers at {url} is no collector of this version: {reason}.",
                f"{url} 的应答不是本版本采集端：{reason}。",
            ),
            Bilingual(
                "Check --url or VILLAGE_URL, and that `village` and the collector are of the same version.",
                "请检查 --url 或 VILLAGE_URL，并确认 village 与采集端版本一致。",
            ),
            exit_code=UNREACHABLE,
            reason=reason,
        )


class Problem(Failure):
    """The collector answered that it can't or won't (a problem document)."""

    def __init__(self, status: int, document: Mapping[str, Any], wait_seconds: str = "") -> None:
        super().__init__(*_sentences(status, document, wait_seconds), status=status, reason=_detail(status, document))


class NotLoggedIn(Problem):
    """The collector does not know who asks, or not any more."""

    def __init__(self, session: Session, document: Mapping[str, Any]) -> None:
        super().__init__(401, document)
        if session.origin == "environment":
            self.advice = Bilingual(
                "Set VILLAGE_TOKEN to a valid token: `village token make` prints one.",
                "请将 VILLAGE_TOKEN 设为有效令牌：village token make 可生成。",
            )
        else:
            login = f"village login --url {session.url}"
            self.advice = Bilingual(f"Log in with `{login}`.", f"请运行 {login} 登录。")


@dataclass(frozen=True, slots=True)
class Answer:
    """A document and the text it came as, in which nothing can act on a terminal."""

    text: str
    document: dict[str, Any]


class Client:
    """Requests to one collector. Methods raise `Unreachable`, `CertificateRefused`, `NotACollector`, `NotLoggedIn` or `Problem`."""

    def __init__(self, session: Session, *, unverified: bool = False) -> None:
        """`unverified` is for `authority` alone and takes no token."""
        self.session = session
        self.url = session.url.rstrip("/")
        host = _checked(self.url)
        tls = self.url.startswith("https:")
        if unverified and session.token:
            raise ValueError("a token must not go to a server that was not verified")
        verify: ssl.SSLContext | bool = False
        if tls:
            # Made for plain HTTP it would take longer than most requests.
            verify = unverified_context() if unverified else context(session.authority)
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers=_PLAIN_ANSWERS | ({"Authorization": f"Bearer {session.token}"} if session.token else {}),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            verify=verify,
            # A proxy for the internet can't reach a collector on this machine.
            trust_env=not _is_loopback(host),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, schema: str, **query: QueryValue | None) -> Answer:
        """Read a document of one schema, as `village.health/1`; a query value of None is left out."""
        return self._document("GET", path, schema, query=query)

    def post(self, path: str, schema: str, document: Mapping[str, Any]) -> Answer:
        """Send a document and read the answer."""
        return self._document("POST", path, schema, content=document)

    def upload(self, path: str, schema: str, parts: Iterable[bytes], size: int) -> Answer:
        """Send a file of `size` bytes and read what the collector made of it."""
        body, _ = self._exchange("PUT", path, {}, None, MAX_ANSWER_BYTES, CONVERTING_SECONDS, (parts, size))
        return _answer(self.url, body, schema)

    def post_file(self, path: str, schema: str, content: bytes, **query: QueryValue | None) -> Answer:
        """Send a file as it is and read the answer."""
        given = {key: value for key, value in query.items() if value is not None}
        sent = ((content,), len(content))
        body, _ = self._exchange("POST", path, given, None, MAX_ANSWER_BYTES, WAITING_SECONDS, sent)
        return _answer(self.url, body, schema)

    def speak(self, path: str, schema: str, pieces: Iterable[bytes]) -> Answer:
        """Send what comes, for as long as it comes, and read the answer."""
        body, _ = self._exchange("POST", path, {}, None, MAX_ANSWER_BYTES, ANSWER_SECONDS, (pieces, None))
        return _answer(self.url, body, schema)

    def recording(self, path: str) -> bytes:
        """Return an Ogg file."""
        body, kind = self._exchange("GET", path, {}, None, MAX_ANSWER_BYTES, ANSWER_SECONDS)
        if kind != "audio/ogg" or not body.startswith(b"OggS"):
            raise NotACollector(self.url, f"a recording was expected, not {kind or 'nothing'}")
        return body

    def delete(self, path: str, schema: str, **query: QueryValue | None) -> Answer:
        """Take something away and read what is left."""
        return self._document("DELETE", path, schema, query=query)

    def do(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> None:
        """Have something done whose answer says no more than that."""
        self._exchange(method, path, {}, document, MAX_ANSWER_BYTES, ANSWER_SECONDS)

    def authority(self) -> str:
        """Return the certificate of the collector's authority (PEM, one certificate)."""
        body, _ = self._exchange("GET", "/authority", {}, None, MAX_AUTHORITY_BYTES, ANSWER_SECONDS)
        return only_certificate(body.decode("ascii", "replace"), f"{self.url}/api/v1/authority")

    def picture(self, path: str) -> bytes:
        """Ask for a picture and return the JPEG."""
        body, kind = self._exchange("POST", path, {}, None, MAX_PICTURE_BYTES, WAITING_SECONDS)
        if kind != "image/jpeg" or not body.startswith(b"\xff\xd8\xff"):
            raise NotACollector(self.url, f"a picture was expected, not {kind or 'nothing'}")
        return body

    def _document(
        self,
        method: str,
        path: str,
        schema: str,
        query: Mapping[str, QueryValue | None] | None = None,
        content: Mapping[str, Any] | None = None,
    ) -> Answer:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        seconds = WAITING_SECONDS if "wait" in given else ANSWER_SECONDS
        body, _ = self._exchange(method, path, given, content, MAX_ANSWER_BYTES, seconds)
        return _answer(self.url, body, schema)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue],
        content: Mapping[str, Any] | None,
        limit: int,
        seconds: float,
        upload: tuple[Iterable[bytes], int | None] | None = None,
    ) -> tuple[bytes, str]:
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        given: dict[str, Any] = {"json": content}
        if upload is not None:
            given = {"content": upload[0], "headers": {"Content-Length": str(upload[1])} if upload[1] else {}}
        try:
            with self._http.stream(method, path, params=query, timeout=timeout, **given) as response:
                ends = time.monotonic() + MAX_TRANSFER_SECONDS
                if "content-encoding" in response.headers:
                    raise NotACollector(self.url, "the answer is compressed")
                body = bytearray()
                for part in response.iter_raw():
                    body += part
                    if len(body) > limit:
                        raise NotACollector(self.url, f"the answer is longer than {limit} bytes")
                    if time.monotonic() > ends:
                        raise Unreachable(self.url, f"no whole answer in {MAX_TRANSFER_SECONDS:g} s")
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                status = response.status_code
                wait_seconds = response.headers.get("retry-after", "")
        except httpx.TimeoutException:
            raise Unreachable(self.url, "no answer in time") from None
        except httpx.TransportError as error:
            raise self._failed(error) from None
        if 200 <= status < 300:
            return bytes(body), kind
        problem = _object(bytes(body))
        if kind != "application/problem+json" or problem is None:
            raise NotACollector(self.url, f"status {status} for {method} {path}")
        # A wrong password is no ended session.
        if status == 401 and path != "/login":
            raise NotLoggedIn(self.session, problem)
        raise Problem(status, problem, wait_seconds)

    def _failed(self, error: httpx.TransportError) -> Failure:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return refused(self.url, cause, pinned=bool(self.session.authority))
            if isinstance(cause, ssl.SSLError):
                return Unreachable(self.url, f"no TLS connection ({cause.reason or 'refused'})")
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and self.url.startswith("http:"):
            return Unreachable(self.url, f"{_plain(error)}; perhaps it speaks https")
        return Unreachable(self.url, _plain(error))


def _checked(url: str) -> str:
    """Return the host of an address that may be asked; raises `Failure`."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unreachable(url, str(error)) from None
    if address.userinfo:
        raise Unreachable(url.replace(address.userinfo.decode(), "…"), "an address holds no name and password")
    if address.scheme not in {"http", "https"} or not address.host:
        raise Unreachable(url, "not an address such as https://127.0.0.1:8480")
    if address.scheme == "http" and not _is_loopback(address.host):
        raise Unreachable(url, "over plain http anybody on the way could read the token; write https://")
    return address.host


def _detail(status: int, document: Mapping[str, Any]) -> str:
    return str(document.get("detail") or document.get("title") or f"status {status}").rstrip(".")


def _sentences(status: int, document: Mapping[str, Any], wait_seconds: str) -> tuple[Bilingual, Bilingual]:
    detail = _detail(status, document)
    advice = document.get("advice")
    texts = advice if isinstance(advice, dict) else {}
    message = Bilingual(f"{detail}.", f"{detail}。")
    if status == 429 and re.fullmatch("[0-9]{1,7}", wait_seconds):
        span = timedelta(seconds=int(wait_seconds))
        message = Bilingual(
            f"{detail}; try again in {duration(span, 'en')}.", f"{detail}；请在 {duration(span, 'zh')}后重试。"
        )
    right = RIGHTS.get(str(document.get("right")))
    if status == 403 and right:
        area = str(document.get("area") or "")
        where = f"区域 {area} 的" if area else ""
        message = Bilingual(message.en, f"需要{where} {document['right']}（{right}）权限，当前用户没有。")
    return (
        message,
        Bilingual(str(texts.get("en") or ""), str(texts.get("zh") or "")),
    )


def _answer(url: str, body: bytes, schema: str) -> Answer:
    document = _object(body)
    if document is None:
        raise NotACollector(url, "the answer is not a JSON object")
    if document.get("schema") != schema:
        raise NotACollector(url, f"{schema} was expected, not {str(document.get('schema'))[:60]!r}")
    return Answer(escape_json(body.decode()), document)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _plain(error: httpx.TransportError) -> str:
    # "[Errno 111] Connection refused" without the number.
    return (str(error).rpartition("] ")[2] or type(error).__name__).rstrip(".").lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
