"""Who gets as far as a connection, on a real mosquitto."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.bench import raw_mqtt
from tests.collector.mosquitto.kit import Site, answer_of, site
from village_collector.trust.authority import AGENT_LIFE, load_authority
from village_wire.address import SessionError, SessionSettings
from village_wire.connection import connect


async def answer(site: Site, name: str, key: str = "") -> str:
    return await asyncio.to_thread(answer_of, site.box(name, key), name)


async def test_only_a_good_certificate_of_the_own_authority_opens_a_connection(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        now = datetime.now(UTC)
        await it.enrol("good")
        assert await answer(it, "good") == "accepted"

        other = await asyncio.to_thread(load_authority, _folder(tmp_path / "other"), make=True)
        stranger = other.issue_passing("good", now)
        it.keep("stranger", stranger.pem, (stranger.key_pem or "").encode())
        assert await answer(it, "stranger") == "TLSV1_ALERT_UNKNOWN_CA"

        await it.enrol("expired", now=now - AGENT_LIFE - timedelta(days=1))
        assert await answer(it, "expired") == "SSLV3_ALERT_CERTIFICATE_EXPIRED"

        # Valid from tomorrow on: a box can't store certificates for the time after its revocation.
        await it.enrol("early", now=now + timedelta(days=1))
        assert await answer(it, "early") in {"SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_EXPIRED"}

        # A certificate is public; without its key it is worth nothing.
        await it.enrol("second")
        assert await answer(it, "good", key="second") == "KEY_VALUES_MISMATCH"

        server = it.authority.issue_server(["localhost"], now)
        it.keep("server", server.pem, (server.key_pem or "").encode())
        assert await answer(it, "server") == "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"

        nobody = replace(it.address, certificate_file=None, key_file=None)
        assert "HANDSHAKE_FAILURE" in await asyncio.to_thread(answer_of, nobody, "good")
        assert not [line for line in it.broker.log if "New client connected" in line and "as good" not in line]


async def test_a_forged_certificate_with_the_authority_s_name_is_refused(tmp_path: Path) -> None:
    """Same issuer name, other key: what counts is the signature."""
    async with site(tmp_path) as it:
        forger = await asyncio.to_thread(load_authority, _folder(tmp_path / "other"), make=True)
        forged = replace(forger, certificate=it.authority.certificate).issue_passing("good", it.now())
        it.keep("forged", forged.pem, (forged.key_pem or "").encode())
        assert "ALERT" in await answer(it, "forged")
        assert not [line for line in it.broker.log if "New client connected" in line]


async def test_nobody_gets_in_without_tls_or_with_an_old_one(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.enrol("good")
        reader, writer = await asyncio.open_connection(it.address.host, it.address.port)
        writer.write(raw_mqtt.connect("good", 60, 0, "x", b"", clean=True))
        async with asyncio.timeout(5):
            try:
                answered = await reader.read()
            except ConnectionResetError:
                answered = b""
        writer.close()
        # Nothing, or an alert of TLS.
        assert answered[:1] in {b"", b"\x15"}
        assert "ALERT" in await asyncio.to_thread(_old_tls, it)
        assert not [line for line in it.broker.log if "New client connected" in line]


async def test_a_broker_of_another_authority_is_refused_by_the_collector_and_the_box(tmp_path: Path) -> None:
    async with site(_folder(tmp_path / "ours")) as ours, site(_folder(tmp_path / "theirs")) as theirs:
        await ours.enrol("lin")
        for address in (ours.box("lin"), ours.address):
            with pytest.raises(SessionError, match="certificate verify failed"):
                async with connect(SessionSettings(replace(address, url=theirs.address.url), "lin")):
                    pass


def _old_tls(site: Site) -> str:
    context = ssl.create_default_context(cafile=site.data / "ca.pem")
    context.load_cert_chain(site.folder / "good.pem", site.folder / "good.key")
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with (
            socket.create_connection((site.address.host, site.address.port), 5) as plain,
            context.wrap_socket(plain, server_hostname=site.address.host),
        ):
            return "accepted"
    except ssl.SSLError as error:
        return error.reason or str(error)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
