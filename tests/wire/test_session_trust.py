"""What TLS refuses, on either side, and a session that changes its settings."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from tests.collector.kit import signing_request
from tests.peers.mosquitto import Mosquitto
from village_collector.trust.authority import Authority, Issued, load_authority
from village_collector.trust.key_files import key_pem
from village_wire.address import BrokerAddress, CertificateRefused, SessionError, SessionSettings, Subscription
from village_wire.connection import connect
from village_wire.incoming import PacketSocket, Received
from village_wire.outgoing import Publication
from village_wire.session import Session
from village_wire.tls import refused_certificate, tls_context

YEAR = timedelta(days=365)


class Rig:
    """An authority, a broker that asks for certificates, and boxes."""

    def __init__(self, folder: Path, server_issued: datetime) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.authority: Authority = load_authority(folder, make=True)
        server = self.authority.issue_server(["127.0.0.1"], server_issued)
        (folder / "server.pem").write_text(server.pem)
        (folder / "server.key").write_text(server.key_pem or "")
        self.revoke()
        self.broker = Mosquitto(
            folder,
            f"cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\ncrlfile {folder}/crl.pem\n"
            "require_certificate true\nuse_identity_as_username true\nallow_anonymous false\n",
        )

    def revoke(self, *issued: Issued) -> None:
        now = datetime.now(UTC)
        (self.folder / "crl.pem").write_bytes(self.authority.crl([(one.serial, now) for one in issued], now))

    def box(self, name: str, issued: datetime | None = None) -> Issued:
        key = generate_private_key(SECP256R1())
        made = self.authority.issue_agent(signing_request(key), name, issued or datetime.now(UTC))
        (self.folder / f"{name}.pem").write_text(made.pem)
        (self.folder / f"{name}.key").touch(0o600)
        (self.folder / f"{name}.key").write_bytes(key_pem(key))
        return made

    def address(self, name: str) -> BrokerAddress:
        return BrokerAddress(
            self.broker.url.replace("mqtt:", "mqtts:"),
            ca_file=self.folder / "ca.pem",
            certificate_file=self.folder / f"{name}.pem" if name else None,
            key_file=self.folder / f"{name}.key" if name else None,
        )


@asynccontextmanager
async def rig(
    folder: Path, prepare: Callable[[Rig], object] = lambda _: None, server_issued: datetime | None = None
) -> AsyncIterator[Rig]:
    made = await asyncio.to_thread(Rig, folder / "rig", server_issued or datetime.now(UTC))
    await asyncio.to_thread(prepare, made)
    async with made.broker:
        yield made


def _expired(it: Rig) -> None:
    it.box("box", datetime.now(UTC) - 2 * YEAR)


def _revoked(it: Rig) -> None:
    it.revoke(it.box("box"))


def _foreign(it: Rig) -> None:
    other = Rig(it.folder / "other", datetime.now(UTC))
    other.box("box")
    for name in ("box.pem", "box.key"):
        (it.folder / name).touch(0o600)
        (it.folder / name).write_bytes((other.folder / name).read_bytes())


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [(_expired, "certificate expired"), (_revoked, "certificate revoked"), (_foreign, "unknown ca")],
)
async def test_a_refused_certificate_is_told_at_once_with_its_reason(
    tmp_path: Path, prepare: Callable[[Rig], object], reason: str
) -> None:
    async with rig(tmp_path, prepare) as it:
        began = time.monotonic()
        with pytest.raises(CertificateRefused, match=f"refuses this program's certificate: {reason}"):
            async with connect(SessionSettings(it.address("box"), "box")):
                pass
        # Not only when the broker's answer is overdue.
        assert time.monotonic() - began < 5


async def test_the_reason_is_told_to_whoever_writes_after_the_broker_has_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(PacketSocket):
        def send(self, buffer: bytes | bytearray) -> int:
            waiting = select.poll()
            waiting.register(self.fileno(), 0)
            assert waiting.poll(5000), "the broker does not close"
            return super().send(buffer)

    monkeypatch.setattr("village_wire.connection.PacketSocket", Late)
    async with rig(tmp_path, _foreign) as it:
        with pytest.raises(CertificateRefused, match="unknown ca"):
            async with connect(SessionSettings(it.address("box"), "box")):
                pass


@pytest.mark.parametrize("years", [-3, 3])
async def test_the_period_of_the_brokers_certificate_counts_only_with_a_clock(tmp_path: Path, years: int) -> None:
    async with rig(tmp_path, lambda it: it.box("box"), datetime.now(UTC) + years * YEAR) as it:
        reason = "expired" if years < 0 else "not yet valid"
        with pytest.raises(SessionError, match=reason):
            async with connect(SessionSettings(it.address("box"), "box")):
                pass
        async with connect(SessionSettings(it.address("box"), "box", check_time=lambda: False)):
            pass


async def test_without_a_clock_chain_and_name_still_count(tmp_path: Path) -> None:
    async with rig(tmp_path, _foreign) as it:
        it.box("own")
        other = BrokerAddress(
            it.address("own").url,
            ca_file=it.folder / "other" / "ca.pem",
            certificate_file=it.folder / "own.pem",
            key_file=it.folder / "own.key",
        )
        with pytest.raises(SessionError, match="CERTIFICATE_VERIFY_FAILED"):
            async with connect(SessionSettings(other, "box", check_time=lambda: False)):
                pass
        by_name = BrokerAddress(
            it.address("own").url.replace("127.0.0.1", "localhost"),
            ca_file=it.folder / "ca.pem",
            certificate_file=it.folder / "own.pem",
            key_file=it.folder / "own.key",
        )
        with pytest.raises(SessionError, match="Hostname mismatch"):
            async with connect(SessionSettings(by_name, "box", check_time=lambda: False)):
                pass


def test_only_words_about_a_certificate_are_a_refused_certificate(tmp_path: Path) -> None:
    assert refused_certificate("[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert") == "certificate revoked"
    assert refused_certificate("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert") == "unknown ca"
    assert refused_certificate("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert") == ""
    assert refused_certificate("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired") == ""
    with pytest.raises(SessionError, match="certificate files"):
        tls_context(BrokerAddress("mqtts://h", ca_file=tmp_path / "absent"))


async def test_a_session_takes_new_settings_with_a_goodbye_and_without_a_pause(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        heard: asyncio.Queue[Received] = asyncio.Queue()
        connected: asyncio.Queue[float] = asyncio.Queue()
        wills: list[int] = []

        def will() -> Publication:
            wills.append(len(wills))
            return Publication("will", b"dead")

        async def announce() -> None:
            connected.put_nowait(time.monotonic())

        def settings(keep_alive: int) -> SessionSettings:
            return SessionSettings(BrokerAddress(broker.url), "box", will, keep_alive, expiry=300)

        session = Session(settings(60), [Subscription("a")], heard.put_nowait)
        async with connect(SessionSettings(BrokerAddress(broker.url), "watcher")) as watcher:
            await watcher.subscribe([Subscription("will")])
            task = asyncio.create_task(session.run(announce))
            try:
                async with asyncio.timeout(20):
                    await connected.get()
                    began = time.monotonic()
                    session.replace(settings(30), [Subscription("a"), Subscription("b")])
                    assert await connected.get() - began < 1
                    await watcher.publish(Publication("b", b"hello"))
                    assert (await heard.get()).payload == b"hello"
                assert len(wills) == 2
                assert session.last_problem == ""
                # Nobody was told that we are dead.
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await anext(watcher.messages())
            finally:
                task.cancel()
                await asyncio.wait([task])


async def test_new_settings_end_the_pause_after_a_refusal(tmp_path: Path) -> None:
    async with rig(tmp_path, _expired) as it:
        connected = asyncio.Event()

        async def announce() -> None:
            connected.set()

        session = Session(SessionSettings(it.address("box"), "box"), [], lambda _: None)
        task = asyncio.create_task(session.run(announce))
        try:
            async with asyncio.timeout(20):
                while "certificate expired" not in session.last_problem:
                    await asyncio.sleep(0.02)
                it.box("box")
                session.replace(SessionSettings(it.address("box"), "box"), [Subscription("a")])
                began = time.monotonic()
                await connected.wait()
            # A refusal is tried again after half a minute to a minute.
            assert time.monotonic() - began < 5
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_whoever_can_not_be_announced_yet_tries_again(tmp_path: Path) -> None:
    """As a box that was enrolled a moment ago: it connects before the broker has read what it may write."""
    rules = tmp_path / "acl"
    rules.write_text("topic read #\n")
    async with Mosquitto(tmp_path, f"acl_file {rules}\n") as broker:
        announced = asyncio.Event()
        session = Session(SessionSettings(BrokerAddress(broker.url), "box"), [Subscription("a")], lambda _: None)

        async def announce() -> None:
            await session.publish(Publication("status", b"here"))
            announced.set()

        task = asyncio.create_task(session.run(announce))
        try:
            async with asyncio.timeout(20):
                while "the broker refuses a message: Not authorized" not in session.last_problem:
                    await asyncio.sleep(0.02)
                assert not announced.is_set()
                rules.write_text("topic readwrite #\n")
                broker.reload()
                await announced.wait()
                while session.last_problem:
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
            await asyncio.wait([task])
