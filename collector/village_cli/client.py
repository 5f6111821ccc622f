"""The HTTP API of the collector: requests, and every way in which an answer can be amiss."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from village_cli.failures import UNREACHABLE, Failure
from village_cli.safety import escape_json
from village_cli.text import Bilingual

#: 10,000 devices take about 6 MB; what is far longer is no answer of a collector.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
#: The collector itself takes pictures of up to 4 MiB.
MAX_PICTURE_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
#: The collector waits up to 25 s for a picture, and as long as asked (at most 30 s) for results.
WAITING_SECONDS = 45.0


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
        )


class Problem(Failure):
    """The collector answered that it can't or won't (a problem document)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A document and the text it came as, in which nothing can act on a terminal."""

    text: str
    document: dict[str, Any]


class Client:
    """Requests to one collector. Methods raise `Unreachable`, `NotACollector` or `Problem`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            address = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise Unreachable(self.url, str(error)) from None
        if address.scheme not in {"http", "https"} or not address.host:
            raise Unreachable(self.url, "not an address such as http://127.0.0.1:8480")
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            # Loading the certificates takes longer than most requests, and plain HTTP uses none.
            verify=address.scheme == "https",
            # A proxy for the internet can't reach a collector on this machine.
            trust_env=not _is_loopback(address.host),
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

    def picture(self, path: str, issuer: str) -> bytes:
        """Ask for a picture and return the JPEG; `issuer` is who wants it."""
        body, kind = self._exchange("POST", path, {"issuer": issuer}, None, MAX_PICTURE_BYTES, WAITING_SECONDS)
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
        document = _object(body)
        if document is None:
            raise NotACollector(self.url, "the answer is not a JSON object")
        if document.get("schema") != schema:
            raise NotACollector(self.url, f"{schema} was expected, not {str(document.get('schema'))[:60]!r}")
        return Answer(escape_json(body.decode()), document)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue],
        content: Mapping[str, Any] | None,
        limit: int,
        seconds: float,
    ) -> tuple[bytes, str]:
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        try:
            with self._http.stream(method, path, params=query, json=content, timeout=timeout) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > limit:
                        raise NotACollector(self.url, f"the answer is longer than {limit} bytes")
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                status = response.status_code
        except httpx.TimeoutException:
            raise Unreachable(self.url, "no answer in time") from None
        except httpx.TransportError as error:
            raise Unreachable(self.url, _plain(error)) from None
        except httpx.DecodingError as error:
            raise NotACollector(self.url, str(error)) from None
        if 200 <= status < 300:
            return bytes(body), kind
        problem = _object(bytes(body))
        if kind != "application/problem+json" or problem is None:
            raise NotACollector(self.url, f"status {status} for {method} {path}")
        raise _problem(status, problem)


def _problem(status: int, document: Mapping[str, Any]) -> Problem:
    detail = str(document.get("detail") or document.get("title") or f"status {status}").rstrip(".")
    advice = document.get("advice")
    texts = advice if isinstance(advice, dict) else {}
    return Problem(
        Bilingual(f"{detail}.", f"{detail}。"),
        Bilingual(str(texts.get("en") or ""), str(texts.get("zh") or "")),
        status=status,
    )


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
