"""One peer keeps no other out: floods, slow requests, peers that never read, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector import connections
from village_collector.connections import owner_of
from village_collector.server import ApiServer, listen, url_of
from village_collector.trust.authority import load_authority

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = 8 * 1024 * 1024


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Read the body, then answer with so many bytes as the path says."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    body = b"x" * int(scope["path"].strip("/") or 2)
    headers = [(b"content-length", str(len(body)).encode()), (b"client", str(scope["client"][0]).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[ApiServer, int]]:
    """A server of `app` and its port."""
    listener = listen("0.0.0.0", 0)
    server = ApiServer(app, listener, context)  # type: ignore[arg-type]
    running = asyncio.create_task(server.run_here(), name="server")
    await server.serving.wait()
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.stop()
        await running


@asynccontextmanager
async def served(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with serving(context) as (_, port):
        yield port


@pytest.fixture(params=["http", "https"])
def contexts(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[ssl.SSLContext, ssl.SSLContext] | tuple[None, None]:
    """The server's and the client's side of TLS, or none."""
    if request.param == "http":
        return None, None
    authority = load_authority(tmp_path, make=True)
    issued = authority.issue_server(["localhost"], datetime.now(UTC))
    (tmp_path / "s.pem").write_text(issued.pem)
    (tmp_path / "s.key").write_text(issued.key_pem or "")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "s.pem", tmp_path / "s.key")
    return server, ssl.create_default_context(cafile=tmp_path / "ca.pem")


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(port: int, context: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> Opened:
    name = "localhost" if context else None
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name, local_addr=(source, 0))


async def answered(port: int, context: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> bool:
    """Tell whether a client at another address is served."""
    reader, writer = await opened(port, context, source)
    writer.write(GET)
    line = await reader.readline()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return b" 200 " in line


async def closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection; tell whether nothing came before it."""
    try:
        return await reader.read() == b""
    except OSError:
        return True


def quick(patch: pytest.MonkeyPatch, **limits: float) -> None:
    for name, value in {"SWEEP_SECONDS": 0.02, **limits}.items():
        patch.setattr(connections, name, value)
    phases = {"head": "HEAD_SECONDS", "body": "BODY_SECONDS", "answer": "STALL_SECONDS", "end": "CLOSE_SECONDS"}
    patch.setattr(connections, "_LIMITS", {phase: getattr(connections, name) for phase, name in phases.items()})


Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


async def test_a_flood_from_one_address_keeps_no_other_out(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 10)
    caplog.set_level(logging.INFO, "village_collector.connections")
    async with asyncio.timeout(20), served(contexts[0]) as port:
        # Plain sockets: under TLS none of them ever begins a handshake.
        flood = [await opened(port, source="127.0.0.2") for _ in range(30)]
        gone = [asyncio.create_task(closed(reader)) for reader, _ in flood[10:]]
        assert all(await asyncio.gather(*gone))
        assert await answered(port, contexts[1], "127.0.0.3")
        for _, writer in flood:
            writer.close()
        while not await _served_again(port, contexts[1]):
            await asyncio.sleep(0.01)
    refused, again = [record.getMessage() for record in caplog.records]
    assert refused == "127.0.0.2 has 10 connections to the API already; further ones are closed at once"
    assert again.startswith("the API takes connections again; 2")


async def _served_again(port: int, context: ssl.SSLContext | None) -> bool:
    with contextlib.suppress(OSError):
        return await answered(port, context, "127.0.0.2")
    return False


async def test_a_flood_from_many_addresses_gives_way(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 10)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 20)
    async with asyncio.timeout(20), served(contexts[0]) as port:
        # One whose request is under way is not given up.
        reader, writer = await opened(port, contexts[1], "127.0.0.9")
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        flood = [await opened(port, source=f"127.0.1.{n // 10}") for n in range(40)]
        assert await answered(port, contexts[1], "127.0.0.3")
        writer.write(b"x")
        assert b" 200 " in await reader.readline()
        for _, each in (*flood, (reader, writer)):
            each.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_a_slow_request_is_ended(contexts: Contexts, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, HEAD_SECONDS=0.2, BODY_SECONDS=0.2)
    async with asyncio.timeout(10), served(contexts[0]) as port:
        reader, writer = await opened(port, contexts[1])
        writer.write(sent)
        assert await closed(reader)
        writer.close()
        assert await answered(port, contexts[1])


async def test_a_trickle_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, HEAD_SECONDS=0.3)
    async with asyncio.timeout(10), served() as port:
        reader, writer = await opened(port)
        end = asyncio.create_task(closed(reader))
        while not end.done():
            writer.write(b"G")
            await asyncio.sleep(0.01)
        assert end.result()
        writer.close()


async def test_a_handshake_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with asyncio.timeout(10), served(context) as port:
        reader, writer = await opened(port)
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        assert await closed(reader)
        writer.close()


async def test_one_who_never_reads_is_ended_and_one_who_reads_slowly_is_not(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, STALL_SECONDS=0.5, STALL_BYTES=1)
    async with asyncio.timeout(25), served(contexts[0]) as port:
        request = f"GET /{BIG} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        deaf, deaf_writer = await opened(port, contexts[1])
        # Left to itself the system may take all of it for one who never reads.
        deaf_writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        deaf_writer.write(request)
        deaf_writer.transport.pause_reading()  # type: ignore[attr-defined]
        slow, slow_writer = await opened(port, contexts[1])
        slow_writer.write(request)
        received = 0
        while part := await slow.read(128 * 1024):
            received += len(part)
            await asyncio.sleep(0.03)
        assert received > BIG
        deaf_writer.transport.resume_reading()  # type: ignore[attr-defined]
        # What the system had taken is still there; the rest was given up.
        got = 0
        with contextlib.suppress(OSError):
            while part := await deaf.read(1024 * 1024):
                got += len(part)
        assert got < BIG
        deaf_writer.close()
        slow_writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_document(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(10), served() as port:
        reader, writer = await opened(port)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.split()[1] in {b"400", b"501"}
    assert b"application/problem+json" in head
    assert json.loads(body)["advice"]["zh"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_only_a_proxy_on_this_machine_says_for_whom_it_asks(contexts: Contexts) -> None:
    async with asyncio.timeout(10), served(contexts[0]) as port:
        reader, writer = await opened(port, contexts[1], "127.0.0.1")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.1.2.3\r\nConnection: close\r\n\r\n")
        found = await reader.read()
        writer.close()
        assert (b"client: 10.1.2.3" in found) == (contexts[0] is None)


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_network_of_one_home_counts_as_one(address: str, owner: str) -> None:
    assert owner_of(address) == owner


@given(st.ip_addresses())
def test_every_address_has_an_owner(address: object) -> None:
    assert owner_of(str(address))


def test_addresses_people_can_use() -> None:
    for host, plain in (("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")):
        with contextlib.closing(listen(host, 0)) as listener:
            assert isinstance(listener, socket.socket)
            port = listener.getsockname()[1]
            assert url_of(listener, tls=True) == f"https://{plain}:{port}"
            assert url_of(listener, tls=False, name="a.example.cn") == f"http://a.example.cn:{port}"


async def test_connections_that_end_while_they_are_judged_harm_nobody(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # TLS lets go of its socket before it tells the protocol: between the two there is nothing to ask.
    quick(monkeypatch, SWEEP_SECONDS=0.0)
    server, client = contexts
    async with served(server) as port:
        for _ in range(30):
            reader, writer = await opened(port, client)
            writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await reader.read()
            writer.transport.abort()
        assert await answered(port, client)
    assert "can't be judged" not in caplog.text


async def test_a_server_that_can_not_accept_ends_rather_than_stay_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: connections.Connections) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(connections.Connections, "_sweep", broken)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(10):
            await ApiServer(app, listen("127.0.0.1", 0)).run_here()  # type: ignore[arg-type]
    assert caught.group_contains(RuntimeError)
