"""Requests that no client writes, over a raw socket to the real program, with TLS and without."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.attack.server import Answer, Server, collector

HEAD = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tls = "true" if request.param == "tls" else "false"
    with collector(tmp_path_factory.mktemp(str(request.param)), api=f"tls = {tls}") as running:
        yield running
        assert running.process.poll() is None
        assert "Traceback" not in running.log()
        assert " failed\n" not in running.log()


@pytest.fixture(scope="module")
def token(server: Server) -> bytes:
    return server.token.encode()


def ask(
    server: Server, target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"", host: bytes = HEAD
) -> Answer:
    """Send one request and return its only answer."""
    lines = b"".join(header + b"\r\n" for header in headers)
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    answers = server.send(
        method + b" " + target + b" HTTP/1.1\r\n" + host + lines + length + b"Connection: close\r\n\r\n", body
    )
    assert len(answers) == 1, answers
    return answers[0]


#: In front of what is to be reached, or in the place of an id.
TRICKS = (
    b"..", b"%2e%2e", b".%2e", b"%252e%252e", b"..%2f..%2f..%2fetc%2fpasswd", b"..%5c..%5cx", b"%2f", b"%5c", b"%00", b"gate-1%00.jpg", b"%0d%0aSet-Cookie:%20x=1",
    b"%0a", b"%c0%ae%c0%ae", b"%e0%80%ae", b"%ff", b"%ed%a0%80", b"%ef%bc%8e%ef%bc%8e", b"%e2%80%ae", b"gate-1;a=b", b"gate-1%3fwait=1", b"gate-1%23", b"*",
    b"~", b"file:", b"%7b%7b7*7%7d%7d", b"%27%20or%201=1--", b"$(id)", b"a" * 3000, b"CON", b"http:%2f%2fevil%2f", b"%", b"%zz", b"%u002e",
)  # fmt: skip
ROUTES = (
    b"/api/v1/devices/@/reader", b"/api/v1/devices/gate-1/@", b"/api/v1/devices/@/@/history?field=online", b"/api/v1/commands/@", b"/api/v1/uploads/@",
    b"/api/v1/persons/@", b"/api/v1/tokens/@", b"/api/v1/agents/@", b"/api/v1/@", b"/@/api/v1/health", b"/api/@/health", b"/@",
    b"/api/v1/events?agent=@", b"/api/v1/audit/entries?after=@", b"/api/v1/health?area=@",
)  # fmt: skip
#: What must never come out, wherever a path leads.
SECRETS = (b"PRIVATE KEY", b"root:", b"SQLite format", b"Traceback", b"village_collector/")


@pytest.mark.parametrize("route", ROUTES)
def test_no_path_leads_out_or_breaks_anything(server: Server, token: bytes, route: bytes) -> None:
    # TLS changes nothing about paths; a few show that it does not.
    for trick in TRICKS if server.url.startswith("http:") else TRICKS[::10]:
        target = route.replace(b"@", trick)
        stranger = ask(server, target)
        assert stranger.status in {400, 401, 404, 405, 414}, (target, stranger)
        known = ask(server, target, b"Authorization: Bearer " + token)
        assert known.status in {200, 400, 404, 405, 414, 422}, (target, known)
        for answer in (stranger, known):
            assert not any(secret in answer.body for secret in SECRETS), (target, answer)
            assert "set-cookie" not in answer.head.lower()
            assert answer.head.count("\r\n") == answer.head.count("\n")


def test_files_of_the_collector_are_no_resources(server: Server, token: bytes) -> None:
    for name in (b"ca.key", b"command_key", b"control.db", b"audit_key", b"collector.toml", b".git/config"):
        for front in (b"/", b"/api/v1/", b"/api/v1/authority/", b"/api/v1/authority/../", b"/static/", b"//"):
            answer = ask(server, front + name, b"Authorization: Bearer " + token)
            assert answer.status in {404, 405}, (front + name, answer)


@pytest.mark.parametrize(
    "way",
    [
        b"/api/v1/health",
        b"/api/v1/health/",
        b"//api/v1/health",
        b"/api/v1/./health",
        b"/api/v1/x/../health",
        b"/API/v1/health",
    ],
)
def test_only_one_spelling_of_a_path_is_one(server: Server, way: bytes) -> None:
    answer = ask(server, way)
    assert answer.status == (401 if way == b"/api/v1/health" else 404), answer
    assert "location" not in answer.head.lower()


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"/api/v1/authority", b"", 400),
        (b"/api/v1/authority", b"Host: evil.example\r\n", 421),
        (b"/api/v1/authority", b"Host: 127.0.0.1\r\nHost: evil.example\r\n", 400),
        (b"/api/v1/authority", b"Host: evil.example\r\nHost: 127.0.0.1\r\n", 400),
        (b"/api/v1/authority", b"Host: 127.0.0.1@evil.example\r\n", 421),
        (b"/api/v1/authority", b"Host: evil.example#127.0.0.1\r\n", 421),
        (b"/api/v1/authority", b"Host: 127.0.0.1/evil\r\n", 421),
        (b"/api/v1/authority", b"Host: localhost.evil.example\r\n", 421),
        (b"/api/v1/authority", b"Host: 127.0.0.1:99999\r\n", 421),
        (b"/api/v1/authority", b"Host: [::1\r\n", 421),
        (b"/api/v1/authority", b"Host: \r\n", 421),
        (b"/api/v1/authority", b"Host : 127.0.0.1\r\n", 400),
        (b"/api/v1/authority", b" Host: 127.0.0.1\r\n", 400),
        (b"http://evil.example/api/v1/authority", HEAD, 404),
        (b"http://127.0.0.1/api/v1/authority", b"Host: evil.example\r\n", 421),
        (b"127.0.0.1:22", HEAD, 404),
        (b"*", HEAD, 404),
    ],
)  # fmt: skip
def test_whom_a_request_is_addressed_to(server: Server, target: bytes, host: bytes, status: int) -> None:
    answer = ask(server, target, host=host)
    assert answer.status in {status, 400}, answer
    assert b"BEGIN CERTIFICATE" not in answer.body


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"OPTIONS", b"PROPFIND", b"HEAD", b"get", b"GET\t", b"\x80"])
def test_other_methods_give_nothing(server: Server, method: bytes) -> None:
    answers = server.send(
        method + b" /api/v1/health HTTP/1.1\r\n" + HEAD + b"Connection: close\r\nX-Secret: seen\r\n\r\n"
    )
    assert all(answer.status in {400, 401, 405, 501} for answer in answers), answers
    assert all(b"seen" not in answer.body for answer in answers)


#: A chunked body that ends at once, or none: what follows is a request of its own for everybody.
ONE_MEANING = {b"X: a\r\n Content-Length: 5\r\n\r\n", b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"}
SMUGGLED = b"GET /api/v1/authority HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)),
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED),
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Content-Length : 0\r\n\r\n",
        b"Content-Length:\x0b0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\tchunked\x00\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0 ;\n\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        b"X: a\r\n Content-Length: 5\r\n\r\n",
        b"X: a\nContent-Length: 5\r\n\r\n",
        b"X: a\rContent-Length: 5\r\n\r\n",
    ],
)  # fmt: skip
def test_requests_can_not_be_smuggled(server: Server, framing: bytes) -> None:
    """Either the first request is refused and the connection ends, or both ends count bytes in the only possible way."""
    answers = server.send(
        b"POST /api/v1/login HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n" + framing + SMUGGLED,
        seconds=2.0,
    )
    assert all(answer.status < 500 or answer.status == 501 for answer in answers)
    if framing not in ONE_MEANING:
        assert not any(b"BEGIN CERTIFICATE" in answer.body for answer in answers), answers


def test_bodies_are_not_unpacked(server: Server, token: bytes) -> None:
    bomb = gzip.compress(bytes(50_000_000), 9)
    assert len(bomb) < 60_000
    before = server.memory
    for kind in (b"gzip", b"deflate, gzip", b"br", b"identity"):
        answer = ask(
            server, b"/api/v1/commands", b"Authorization: Bearer " + token, b"Content-Type: application/json", b"Content-Encoding: " + kind,
            method=b"POST", body=bomb,
        )  # fmt: skip
        assert answer.status in {400, 415, 422}, answer
    assert server.memory - before < 20_000_000


def test_nested_bodies_are_refused(server: Server, token: bytes) -> None:
    for opening in (b"[", b'{"a":', b'{"target":{"agent":', b'["', b"[[[[{"):
        body = (opening * 60_000)[:60_000]
        answer = ask(
            server, b"/api/v1/commands", b"Authorization: Bearer " + token, b"Content-Type: application/json", method=b"POST", body=body
        )  # fmt: skip
        assert answer.status in {400, 422}, answer


def test_names_with_line_ends_stay_in_their_place(server: Server) -> None:
    evil = "li\r\nSet-Cookie: owned=1\r\n\r\n<script>"
    body = json.dumps({"person": evil, "password": evil}).encode()
    answer = ask(server, b"/api/v1/login", b"Content-Type: application/json", method=b"POST", body=body)
    assert answer.status in {401, 422}
    assert "owned" not in answer.head
    assert "content-type: application/problem+json" in answer.head.lower()
    assert "Set-Cookie: owned" not in server.log().replace("\\r\\n", "")


def test_ranges_and_conditions_change_nothing(server: Server) -> None:
    whole = ask(server, b"/api/v1/authority")
    assert whole.status == 200
    for header in (
        b"Range: bytes=0-1",
        b"Range: bytes=-1,0-0" + b",0-0" * 500,
        b"If-None-Match: *",
        b"If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT",
    ):
        assert ask(server, b"/api/v1/authority", header)[::2] == (200, whole.body)


def test_upgrades_are_not_taken(server: Server) -> None:
    for headers in (
        (b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
        (
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
        ),
    ):
        assert ask(server, b"/api/v1/health", *headers).status in {400, 401}
    answers = server.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert all(answer.status in {400, 421, 505} for answer in answers), answers


def test_who_asked_is_told_by_the_socket(server: Server) -> None:
    """Only where nothing but a proxy on this machine can ask, over plain HTTP, its word counts, and then only as an address."""
    lies = (
        b"X-Forwarded-For: 203.0.113.9", b"X-Real-IP: 203.0.113.9", b"Forwarded: for=203.0.113.9", b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: https",
        b"X-Forwarded-Prefix: /evil", b"X-Original-URL: /api/v1/authority", b"X-HTTP-Method-Override: DELETE",
    )  # fmt: skip
    assert ask(server, b"/api/v1/health", *lies).status == 401
    addresses = {entry["address"] for entry in entries(server) if entry["outcome"] == "refused"}
    assert addresses <= ({"127.0.0.1", "203.0.113.9"} if server.url.startswith("http:") else {"127.0.0.1"})


def test_long_words_of_a_proxy_do_not_fill_the_audit(server: Server) -> None:
    ask(server, b"/api/v1/health", b"X-Forwarded-For: " + b"\xe4<script>" * 900)
    assert max(len(entry["address"]) for entry in entries(server)) <= 100


def entries(server: Server) -> list[dict[str, Any]]:
    """The audit log."""
    store = server.control()
    try:
        return [json.loads(entry.text) for entry in store.audit_entries(0, 100_000)]
    finally:
        store.close()


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_tls_is_not_spoken(server: Server, version: str) -> None:
    if server.url.startswith("http:"):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("ALL:@SECLEVEL=0")
    parts = urlsplit(server.url)
    with (
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)alert|version|eof"),
    ):
        context.wrap_socket(raw)
