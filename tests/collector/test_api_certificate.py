"""The API's certificate over real handshakes: issued, renewed, given, replaced while connections are served."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.collector.test_connections import served, serving
from village_collector.api_certificate import ApiCertificate, api_names, check_given, public_name
from village_collector.config import Settings
from village_collector.data_dir import DataDirProblem
from village_collector.sections import ApiSection, CollectorSection
from village_collector.trust.authority import Authority, load_authority
from village_wire.settings import InvalidSettings

NOW = datetime.now(UTC)


def _settings(folder: Path, **api: object) -> Settings:
    return Settings(collector=CollectorSection(data_dir=folder), api=ApiSection.model_validate({"tls": True, **api}))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return load_authority(tmp_path, make=True)


def _given(
    folder: Path, authority: Authority, names: tuple[str, ...] = ("localhost",), now: datetime = NOW
) -> dict[str, object]:
    issued = authority.issue_server(names, now)
    (folder / "given.pem").write_text(issued.pem)
    (folder / "given.key").write_text(issued.key_pem or "")
    (folder / "given.key").chmod(0o600)
    return {"certificate_file": folder / "given.pem", "key_file": folder / "given.key"}


async def _serial(port: int, folder: Path, name: str = "localhost") -> str:
    """Connect as `village` does, trusting the authority alone; return the serial of what the API showed."""
    client = ssl.create_default_context(cafile=folder / "ca.pem")
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
    shown = writer.get_extra_info("peercert")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return str(shown["serialNumber"])


def test_the_names_are_all_by_which_the_api_is_reached() -> None:
    api = ApiSection(
        tls=True,
        host="10.0.0.7",
        names=("Server.Example.CN", "2001:DB8::1"),
        public_url="https://public.example.cn:8480/",
    )
    assert api_names(api, "box") == (
        "localhost", "127.0.0.1", "::1", "10.0.0.7", "server.example.cn", "2001:db8::1", "public.example.cn", "box",
    )  # fmt: skip
    assert api_names(ApiSection(tls=True, host="0.0.0.0"), "under_score") == ("localhost", "127.0.0.1", "::1")
    assert public_name(api) == "Server.Example.CN"
    assert public_name(ApiSection()) == ""
    assert public_name(ApiSection(tls=True, host="0.0.0.0"))


async def test_an_own_one_is_issued_once_and_trusted_through_the_authority(
    tmp_path: Path, authority: Authority
) -> None:
    kept = ApiCertificate(_settings(tmp_path, names=["a.example.cn"]), authority)
    async with asyncio.timeout(10), served(await asyncio.to_thread(kept.load)) as port:
        serial = await _serial(port, tmp_path)
        assert await _serial(port, tmp_path, "a.example.cn") == serial
        with pytest.raises(ssl.SSLCertVerificationError):
            await _serial(port, tmp_path, "b.example.cn")
        await asyncio.to_thread((tmp_path / "other").mkdir)
        await asyncio.to_thread(load_authority, tmp_path / "other", make=True)
        with pytest.raises(ssl.SSLCertVerificationError):
            await _serial(port, tmp_path / "other")
        old = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", port, ssl=old, server_hostname="localhost")
    assert (tmp_path / "api.key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "api.pem").read_bytes()
    await asyncio.to_thread(ApiCertificate(_settings(tmp_path, names=["a.example.cn"]), authority).load)
    assert (tmp_path / "api.pem").read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "api.pem").unlink(),
        lambda folder: (folder / "api.key").unlink(),
        lambda folder: (folder / "api.pem").write_bytes(b""),
        lambda folder: (folder / "api.key").write_bytes(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        ),
        lambda folder: (folder / "api.key").chmod(0o644),
        # A kill between the two files.
        lambda folder: (folder / "api.key").write_text(
            load_authority(folder, make=False).issue_server(["x"], NOW).key_pem or ""
        ),
    ],
)
def test_one_that_will_not_do_is_issued_anew(
    tmp_path: Path, authority: Authority, spoil: Callable[[Path], None]
) -> None:
    ApiCertificate(_settings(tmp_path), authority).load()
    before = (tmp_path / "api.pem").read_bytes()
    spoil(tmp_path)
    ApiCertificate(_settings(tmp_path), authority).load()
    assert (tmp_path / "api.pem").read_bytes() != before
    assert (tmp_path / "api.key").stat().st_mode & 0o777 == 0o600


def test_it_follows_names_authority_and_time(tmp_path: Path, authority: Authority) -> None:
    found = set()

    def load(by: Authority, days: float = 0, **api: object) -> None:
        ApiCertificate(_settings(tmp_path, **api), by, lambda: NOW + timedelta(days)).load()
        found.add((tmp_path / "api.pem").read_bytes())

    load(authority)
    load(authority, 59)
    assert len(found) == 1
    load(authority, 61)
    assert len(found) == 2
    load(authority, 0)
    assert len(found) == 3, "one that is valid only later is of no use"
    load(authority, 0, names=["new.example.cn"])
    assert len(found) == 4
    (tmp_path / "other").mkdir()
    load(load_authority(tmp_path / "other", make=True), 0, names=["new.example.cn"])
    assert len(found) == 5


async def test_a_renewed_one_is_shown_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    days = [-70.0]
    kept = ApiCertificate(_settings(tmp_path), authority, lambda: NOW + timedelta(days[0]))
    async with asyncio.timeout(10), serving(await asyncio.to_thread(kept.load)) as (server, port):
        first = await _serial(port, tmp_path)
        keeping = asyncio.create_task(kept.keep(server.use, 0.01))
        await asyncio.sleep(0.1)
        assert await _serial(port, tmp_path) == first
        days[0] = 0.0
        while await _serial(port, tmp_path) == first:
            await asyncio.sleep(0.01)
        keeping.cancel()


async def test_a_given_one_is_read_again_when_it_changes(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    kept = ApiCertificate(_settings(tmp_path, **_given(tmp_path, authority)), authority)
    async with asyncio.timeout(10), serving(await asyncio.to_thread(kept.load)) as (server, port):
        first = await _serial(port, tmp_path)
        keeping = asyncio.create_task(kept.keep(server.use, 0.01))
        # Half of a change: the new certificate with the old key.
        key = (tmp_path / "given.key").read_bytes()
        _given(tmp_path, authority)
        new_key = (tmp_path / "given.key").read_bytes()
        (tmp_path / "given.key").write_bytes(key)
        while "goes on with its present certificate" not in caplog.text:
            await asyncio.sleep(0.01)
        assert await _serial(port, tmp_path) == first
        (tmp_path / "given.key").write_bytes(new_key)
        while await _serial(port, tmp_path) == first:
            await asyncio.sleep(0.01)
        keeping.cancel()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert not (tmp_path / "api.pem").exists()


def test_a_given_one_that_can_not_be_used_is_refused_with_the_reason(tmp_path: Path, authority: Authority) -> None:
    _given(tmp_path, authority)
    pem, key = tmp_path / "given.pem", tmp_path / "given.key"
    found = check_given(pem, key, NOW)
    assert found.names == ("localhost",)
    good = key.read_bytes()
    encrypted = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    foreign = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def refusal(now: datetime = NOW) -> str:
        with pytest.raises(InvalidSettings) as raised:
            check_given(pem, key, now)
        return str(raised.value)

    assert "it ended on" in refusal(NOW + timedelta(91))
    assert "valid from" in refusal(NOW - timedelta(1))
    for content, reason in (
        (foreign, "not the private key of"),
        (encrypted, "passphrase"),
        (b"", "not the private key"),
    ):
        key.write_bytes(content)
        assert reason in refusal()
    key.write_bytes(good)
    key.chmod(0o644)
    assert "others may open it" in refusal()
    key.chmod(0o640)
    check_given(pem, key, NOW)
    pem.write_bytes(b"nonsense")
    assert "not a certificate in PEM" in refusal()
    pem.unlink()
    assert "No such file" in refusal()
    assert str(pem) in refusal()


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "api.key").mkdir()
    with pytest.raises(DataDirProblem, match=r"api\.key"):
        ApiCertificate(_settings(tmp_path), authority).load()
