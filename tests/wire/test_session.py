from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.peers import free_port
from tests.peers.mosquitto import Mosquitto
from village_wire.address import BrokerAddress, NotAuthorised, SessionError, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.session import Session


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with Mosquitto(tmp_path) as mosquitto:
        yield mosquitto


def settings(broker: Mosquitto, client_id: str, *, expiry: int = 0, will: Publication | None = None) -> SessionSettings:
    return SessionSettings(BrokerAddress(broker.url), client_id, expiry=expiry, will=will)


async def first(connection: Connection) -> Received:
    async with asyncio.timeout(10):
        async for message in connection.messages():
            return message
    raise AssertionError("unreachable")


class Listener:
    """A session that collects what it hears."""

    def __init__(self, broker: Mosquitto, client_id: str, topic_filter: str) -> None:
        self.heard: asyncio.Queue[Received] = asyncio.Queue()
        self.connections = 0
        self.session = Session(
            settings(broker, client_id, expiry=300), [Subscription(topic_filter)], self.heard.put_nowait
        )

    async def connected(self) -> None:
        self.connections += 1

    async def next(self) -> Received:
        async with asyncio.timeout(10):
            return await self.heard.get()


async def test_properties_arrive(broker: Mosquitto) -> None:
    message = Publication("t", b"x", expiry=60, content_type="c", response_topic="r", correlation=b"id")
    async with connect(settings(broker, "a")) as connection:
        await connection.subscribe([Subscription("t")])
        await connection.publish(message)
        assert await first(connection) == Received("t", b"x", False, "c", "r", b"id")


async def test_a_will_is_published_for_the_dead(broker: Mosquitto) -> None:
    will = Publication("status", b"offline", retain=True)
    async with connect(settings(broker, "watcher")) as watcher:
        await watcher.subscribe([Subscription("status")])
        connected = asyncio.Event()
        dying = asyncio.create_task(_hold(settings(broker, "dying", will=will), connected))
        async with asyncio.timeout(10):
            await connected.wait()
        # The broker ends the first connection of a client id, with its will, when a second one comes.
        async with connect(settings(broker, "dying")):
            assert (await first(watcher)).payload == b"offline"
        with pytest.raises(SessionError):
            await dying


async def _hold(own: SessionSettings, connected: asyncio.Event) -> None:
    async with connect(own) as connection:
        connected.set()
        async for _ in connection.messages():
            pass


async def test_a_session_comes_back_by_itself(broker: Mosquitto) -> None:
    listener = Listener(broker, "listener", "t/#")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(listener.session.run(listener.connected))
        async with asyncio.timeout(10):
            await listener.session.wait_connected()
        await listener.session.publish(Publication("t/1", b"before"))
        assert (await listener.next()).payload == b"before"
        await broker.kill()
        async with asyncio.timeout(10):
            while listener.session.connected:
                await asyncio.sleep(0.01)
        with pytest.raises(SessionError):
            await listener.session.publish(Publication("t/1", b"lost"))
        await broker.start()
        async with asyncio.timeout(20):
            await listener.session.wait_connected()
            await listener.session.publish(Publication("t/1", b"after"))
        assert (await listener.next()).payload == b"after"
        assert listener.connections == 2
        running.cancel()


async def test_the_broker_keeps_messages_for_a_persistent_session(broker: Mosquitto) -> None:
    own = settings(broker, "sleeper", expiry=300)
    async with connect(own) as connection:
        await connection.subscribe([Subscription("t")])
    async with connect(settings(broker, "sender")) as sender:
        await sender.publish(Publication("t", b"while you slept"))
    async with connect(own) as connection:
        assert (await first(connection)).payload == b"while you slept"


async def test_a_waiting_publisher_learns_at_once_that_the_link_is_gone(broker: Mosquitto) -> None:
    async with connect(settings(broker, "a")) as connection:
        listening = asyncio.create_task(_drain(connection))
        await connection.publish(Publication("t", b"x"))
        kill = asyncio.create_task(broker.kill())
        with pytest.raises(SessionError):
            async with asyncio.timeout(5):
                while True:
                    await connection.publish(Publication("t", b"x"))
        await kill
        with pytest.raises(SessionError):
            await listening


async def _drain(connection: Connection) -> None:
    async for _ in connection.messages():
        pass


async def test_nobody_there() -> None:
    with pytest.raises(SessionError, match="refused"):
        async with connect(SessionSettings(BrokerAddress(f"mqtt://127.0.0.1:{free_port()}"), "a")):
            pass


async def test_wrong_credentials(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path, "allow_anonymous false\n") as broker:
        with pytest.raises(NotAuthorised):
            async with connect(settings(broker, "a")):
                pass


@pytest.mark.parametrize("url", ["", "http://x", "mqtt://", "mqtt://u:p@h", "mqtt://h:x"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        BrokerAddress(url).check()


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(BrokerAddress("mqtt://h", "u", "secret"))


async def test_a_broker_that_never_answers_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("village_wire.connection.ANSWER_SECONDS", 0.2)
    gone = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SessionError, match="timed out"):
            async with connect(SessionSettings(BrokerAddress(f"mqtt://127.0.0.1:{port}"), "a")):
                pass
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_broker_that_closes_without_an_answer_is_not_waited_for() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            with pytest.raises(SessionError, match="ended the connection before it answered"):
                async with connect(SessionSettings(BrokerAddress(f"mqtt://127.0.0.1:{port}"), "a")):
                    pass


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that signed itself, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "broker.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (tmp_path / "broker.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path / "broker.pem"


async def test_many_large_messages_arrive_over_tls(tmp_path: Path, certificate: Path) -> None:
    key = certificate.with_suffix(".key")
    async with Mosquitto(tmp_path, f"certfile {certificate}\nkeyfile {key}\nmax_queued_messages 0\n") as broker:
        address = BrokerAddress(f"mqtts://127.0.0.1:{broker.port}", ca_file=certificate)
        contents = [bytes([number % 256]) * (number * 97 % 50_000) for number in range(300)]
        async with connect(SessionSettings(address, "a")) as connection:
            await connection.subscribe([Subscription("t")])
            await connection.send([Publication("t", content) for content in contents])
            heard: list[bytes] = []
            async with asyncio.timeout(20):
                async for message in connection.messages():
                    heard.append(message.payload)
                    if len(heard) == len(contents):
                        break
        assert heard == contents


async def test_what_is_sent_at_once_arrives_in_order(broker: Mosquitto) -> None:
    async with connect(settings(broker, "a")) as connection:
        await connection.subscribe([Subscription("t/#")])
        sent = [Publication(f"t/{number}", b"x" * 100, qos=0) for number in range(2000)]
        async with asyncio.timeout(10):
            await asyncio.gather(connection.send(sent[:1000]), connection.publish(Publication("u", b"between")))
            await connection.send(sent[1000:])
            topics = [message.topic async for message in _take(connection, 2000)]
        assert topics == [message.topic for message in sent]


async def test_nothing_is_sent_over_a_lost_connection(broker: Mosquitto) -> None:
    async with connect(settings(broker, "a")) as connection:
        draining = asyncio.create_task(_drain(connection))
        await broker.kill()
        with pytest.raises(SessionError):
            await draining
        with pytest.raises(SessionError, match="the connection ended"):
            await connection.send([Publication("t", b"x")])


async def test_a_broker_that_reads_nothing_holds_the_sender_up() -> None:
    """What waits to be written stays bounded: the sender waits until the socket has taken it, or the connection ends."""
    leave = asyncio.Event()

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"\x20\x03\x00\x00\x00")
        await leave.wait()
        writer.transport.abort()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0, limit=1024)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with connect(SessionSettings(BrokerAddress(f"mqtt://127.0.0.1:{port}"), "a")) as connection:
            sending = asyncio.create_task(connection.send([Publication("t", bytes(200_000))] * 100))
            done, _ = await asyncio.wait([sending], timeout=0.3)
            assert not done
            leave.set()
            with pytest.raises(SessionError):
                async with asyncio.timeout(10):
                    await sending


async def _take(connection: Connection, count: int) -> AsyncIterator[Received]:
    async for message in connection.messages():
        yield message
        count -= 1
        if not count:
            return
