"""Every way from one of our programs to another, with somebody in between who shows every wrong certificate there is.

What a test asks for is not only that the client gives up, but that it has told nothing: no password, no token, no name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.attack.certificates import DAY, HOUR, Listener, Signer, listening, make, server_context
from village_agent.commands.upload import UploadFailed, upload_jpeg
from village_agent.https import NotReached, call, trust
from village_agent.identity.enrolment import Impostor, enrol
from village_cli.client import Client
from village_cli.failures import Failure
from village_cli.sessions import Session
from village_wire.address import BrokerAddress, SessionError, SessionSettings
from village_wire.connection import connect
from village_wire.enrolment import EnrolmentToken, InvalidEnrolment, fingerprint

SECRET = b"the-secret-of-this-test"
_REFUSALS = (SessionError, NotReached, UploadFailed, Failure, Impostor, InvalidEnrolment)


class Site:
    """The right authority and who is the client's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = make("village authority", authority=True)
        self.other = make("village authority", authority=True)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self.authority.pem)
        self.client_file = make("lin-1", self.authority).write(folder, "client")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("tls"))


def _to_broker(site: Site, port: int, *, check_time: bool = True) -> None:
    """As an agent, and as a collector: with password and certificate."""
    address = BrokerAddress(
        f"mqtts://localhost:{port}", "lin-1", SECRET.decode(), site.ca_file, site.client_file, site.client_file
    )

    async def ask() -> None:
        async with asyncio.timeout(10), connect(SessionSettings(address, "lin-1", check_time=lambda: check_time)):
            pass

    asyncio.run(ask())


def _renewal(site: Site, port: int, *, check_time: bool = True) -> None:
    context = trust(site.ca_file, system=False, check_time=check_time)
    call("POST", f"https://localhost:{port}/api/v1/renewals", context, limit=1000, body=SECRET)


def _enrolment(site: Site, port: int, *, check_time: bool = True) -> None:
    secret = SECRET[:16]
    token = EnrolmentToken(secret, fingerprint(site.authority.certificate.public_bytes(Encoding.DER)))
    state = site.folder / f"state-{port}"
    state.mkdir()
    with patch("village_agent.identity.enrolment.synchronised_ns", time.time_ns):
        enrol(f"https://localhost:{port}", token, state)


def _upload(site: Site, port: int, *, check_time: bool = True) -> None:
    upload_jpeg(f"https://localhost:{port}/api/v1/uploads/x", SECRET.decode(), b"\xff\xd8\xff", site.ca_file)


def _village(site: Site, port: int, *, check_time: bool = True) -> None:
    session = Session(f"https://localhost:{port}", site.authority.pem.decode(), SECRET.decode(), "login")
    with Client(session) as client:
        client.get("/agents", "village.agents/1")


WAYS: Mapping[str, Callable[..., None]] = {
    "agent to broker": _to_broker,
    "agent renews": _renewal,
    "agent enrols": _enrolment,
    "agent uploads": _upload,
    "village to collector": _village,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def _told(way: Callable[..., None], site: Site, context: ssl.SSLContext, **more: bool) -> bytes:
    """Return what a client told a server before it gave up; all of them do, since nobody answers as they expect."""
    with listening(context) as server:
        _shows_the_authority(server, site)
        with pytest.raises(_REFUSALS):
            way(site, server.port, **more)
    told = bytes(server.told)
    # Who enrols fetches the authority from anybody and compares it: that tells nothing.
    return b"" if told.count(b"\r\n\r\n") == 1 and told.startswith(b"GET /api/v1/authority ") else told


def _shows_the_authority(server: Listener, site: Site) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(site.authority.pem)}\r\nConnection: close\r\n\r\n"
    server.answers[b"GET /api/v1/authority "] = head.encode() + site.authority.pem
    # CONNACK, not authorised.
    server.answers[b"\x10"] = b"\x20\x03\x00\x87\x00"


@ways
def test_the_right_server_is_told_everything(way: Callable[..., None], site: Site) -> None:
    # Without this, the refusals below might have other reasons.
    assert _told(way, site, server_context(make("x", site.authority).write(site.folder, "good")))


def _wrong(site: Site) -> dict[str, Signer]:
    leaf = make("leaf", site.authority)
    return {
        "of another authority of the same name": make("x", site.other),
        "self-signed": make("localhost"),
        "self-signed, as an authority of the right name": make("village authority", authority=True),
        "ended an hour ago": make("x", site.authority, starts=-DAY, ends=-HOUR),
        "begins in an hour": make("x", site.authority, starts=HOUR),
        "for another name": make("x", site.authority, names=["evil.example"]),
        "for another address": make("x", site.authority, names=["127.0.0.2"]),
        "for a name that only begins like it": make("x", site.authority, names=["localhost.evil.example"]),
        "for a name with NUL": make("x", site.authority, names=["localhost\0.evil.example"]),
        "with the name in the subject only": make("localhost", site.authority, names=["evil.example"]),
        "signed by a leaf of the right authority": make("x", leaf),
        "an agent's, which is no server's": make("lin-2", site.authority, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
    }


@ways
def test_wrong_certificates_are_told_nothing(way: Callable[..., None], site: Site) -> None:
    for what, certificate in _wrong(site).items():
        context = server_context(certificate.write(site.folder, "wrong"))
        assert _told(way, site, context) == b"", what


def _old(site: Site, name: str) -> ssl.SSLContext:
    context = server_context(make("x", site.authority).write(site.folder, "old"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if name in {"TLSv1", "TLSv1_1"}:
            context.minimum_version = context.maximum_version = ssl.TLSVersion[name]
            context.set_ciphers("ALL:@SECLEVEL=0")
        else:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(f"{name}:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("name", ["TLSv1", "TLSv1_1", "eNULL", "aNULL"])
@ways
def test_old_versions_and_empty_ciphers_are_not_spoken(way: Callable[..., None], site: Site, name: str) -> None:
    context = _old(site, name)
    with listening(context) as server:
        # Somebody who takes anything is served: the refusals are the clients'.
        lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            lax.minimum_version = ssl.TLSVersion.TLSv1
        lax.set_ciphers("ALL:eNULL:aNULL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", server.port)) as raw, lax.wrap_socket(raw) as link:
            link.sendall(b"seen")
            assert link.recv(1) == b""
    assert bytes(server.told) == b"seen"
    assert _told(way, site, _old(site, name)) == b""


@pytest.mark.parametrize("way", [_to_broker, _renewal], ids=["broker", "api"])
def test_a_box_without_a_clock_leaves_aside_the_period_and_nothing_else(way: Callable[..., None], site: Site) -> None:
    for what, certificate in _wrong(site).items():
        context = server_context(certificate.write(site.folder, "wrong"))
        told = _told(way, site, context, check_time=False)
        assert bool(told) == (what in {"ended an hour ago", "begins in an hour"}), what


@ways
def test_whoever_answers_in_clear_is_told_nothing(way: Callable[..., None], site: Site) -> None:
    # Whatever answers in plain text is no server, and is not answered in plain text either.
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        port = server.getsockname()[1]
        told: list[bytes] = []

        def answer() -> None:
            link, _ = server.accept()
            with link:
                told.append(link.recv(65536))
                link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(_REFUSALS):
            way(site, port)
        thread.join()
    # A ClientHello: handshake, TLS 1.x, and no secret in it.
    assert told[0][:2] == b"\x16\x03"
    assert SECRET not in told[0]
