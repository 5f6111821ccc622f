"""A mosquitto as `village-collector mosquitto setup` makes it, and boxes that enrolled."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.collector.kit import VILLAGE
from tests.peers import free_port, peer
from village_collector.broker_certificate import BrokerCertificate, own_address
from village_collector.config import Settings, load_settings
from village_collector.data_dir import load_collector_id
from village_collector.mosquitto.keeper import Keeper
from village_collector.mosquitto.setup import Wish, set_up
from village_collector.stores.control import ControlStore
from village_collector.trust.authority import Authority, Issued, collector_name, key_digest, load_authority
from village_collector.trust.key_files import key_pem
from village_wire.address import BrokerAddress, SessionSettings


class Site:
    """One collector's folder, its control store, and the broker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "mosquitto"
        self.port = free_port()
        self.wish = Wish(self.files, "127.0.0.1", self.port, (), standalone=True)
        table = "".join(f'{key} = "{value}"\n' for key, value in self.wish.broker().items())
        (folder / "collector.toml").write_text(f"[broker]\n{table}[api]\nport = 0\n")
        self.settings: Settings = load_settings(folder / "collector.toml", folder / "data")
        set_up(self.settings, self.wish, datetime.now(UTC), lambda step: None)
        self.authority: Authority = load_authority(self.data, make=False)
        self.control = ControlStore(f"sqlite:///{self.data / 'control.db'}")
        self.control.open()
        self.name = collector_name(load_collector_id(self.data))
        BrokerCertificate(self.data, self.authority, self.name, self.control.record_certificate).load()
        self.broker = Broker(self.files, self.port)

    @property
    def data(self) -> Path:
        return self.settings.collector.data_dir

    @property
    def address(self) -> BrokerAddress:
        """As the collector logs in."""
        return own_address(self.settings, self.settings.broker.url)

    async def enrol(self, agent: str, area: str = VILLAGE, now: datetime | None = None) -> Issued:
        """Give a box its certificate, by a token, as the API does."""
        return await asyncio.to_thread(self._enrol, agent, area, now or datetime.now(UTC))

    async def revoke(self, agent: str) -> None:
        """Declare a box lost."""
        assert await asyncio.to_thread(self.control.revoke, agent, datetime.now(UTC))

    def _enrol(self, agent: str, area: str, now: datetime) -> Issued:
        key = generate_private_key(SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
        token = uuid4().hex
        issued: list[Issued] = []

        def issue(name: str) -> Issued:
            issued.append(self.authority.issue_agent(request.public_bytes(Encoding.PEM).decode(), name, now))
            return issued[0]

        self.control.add_enrolment(token, agent, area, "li", now, now + timedelta(hours=1))
        self.control.use_enrolment(token, key_digest(key.public_key()), now, issue)
        self.keep(agent, issued[0].pem, key_pem(key))
        return issued[0]

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    def keep(self, name: str, certificate: str, key: bytes) -> None:
        (self.folder / f"{name}.pem").write_text(certificate)
        (self.folder / f"{name}.key").touch(mode=0o600)
        (self.folder / f"{name}.key").touch(mode=0o600)
        (self.folder / f"{name}.key").write_bytes(key)

    def box(self, name: str, key: str = "") -> BrokerAddress:
        """As a box logs in, with its own key or another's."""
        return BrokerAddress(
            self.address.url,
            ca_file=self.data / "ca.pem",
            certificate_file=self.folder / f"{name}.pem",
            key_file=self.folder / f"{key or name}.key",
        )

    def session(self, agent: str, client_id: str = "", expiry: int = 0) -> SessionSettings:
        return SessionSettings(self.box(agent), client_id or agent, expiry=expiry)

    def keeper(self) -> Keeper:
        return Keeper(self.settings, self.authority, self.control, self.name, self.address, lambda: None)


class Broker:
    """mosquitto with the configuration that setup wrote."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._command = (peer("mosquitto"), "-c", folder / "village.conf", "-v")
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.log: list[str] = []

    async def start(self) -> None:
        told = len(self.log)
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=DEVNULL, stderr=PIPE)
        self._reader = asyncio.create_task(self._read(), name="mosquitto's log")
        async with asyncio.timeout(10):
            while True:
                assert self._process.returncode is None, "".join(self.log)
                # It listens before it handles SIGHUP, which would end it.
                if any(line.rstrip().endswith("running") for line in self.log[told:]):
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process is not None and self._reader is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            code = await self._process.wait()
            await self._reader
            self._process = self._reader = None
            assert code == 0, "".join(self.log[-40:])

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.log.append(line.decode(errors="replace"))


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """A site whose broker runs; nobody keeps its files up to date."""
    made = await asyncio.to_thread(Site, folder)
    try:
        await made.broker.start()
        yield made
    finally:
        await made.broker.stop()
        made.control.close()


@asynccontextmanager
async def kept(site: Site) -> AsyncIterator[Keeper]:
    """With the part of the collector that keeps the broker's files up to date."""
    keeper = site.keeper()
    await keeper.prepare()
    task = asyncio.create_task(keeper.run(), name="broker files")
    try:
        yield keeper
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def answer_of(address: BrokerAddress, name: str = "") -> str:
    """What the broker says to CONNECT: `accepted`, or OpenSSL's word for its refusal. Blocks.

    Without a name only the handshake is made, which takes nobody's connection over.
    """
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if address.certificate_file is not None:
            context.load_cert_chain(address.certificate_file, address.key_file)
        # There the refusal comes before the handshake ends.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection((address.host, address.port), 5) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as stream,
        ):
            if not name:
                return "accepted"
            body = b"\x00\x04MQTT\x05\x02\x00\x1e\x00" + len(name).to_bytes(2, "big") + name.encode()
            stream.sendall(bytes([0x10, len(body)]) + body)
            answer = stream.recv(100)
            return "accepted" if answer[:1] == b" " and answer[3] == 0 else answer.hex() or "closed"
    except ssl.SSLError as error:
        return error.reason or str(error)
    except OSError as error:
        return str(error)
