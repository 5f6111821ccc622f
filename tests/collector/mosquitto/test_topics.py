"""The whole topic tree, walked as one agent on a real mosquitto, and compared with one table.

mosquitto grants every subscription and acknowledges every publication; what arrives is what counts. For everything that an agent may
not do there is somebody who can, so that silence means refusal.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.bench import raw_mqtt
from tests.collector.kit import OTHER, VILLAGE
from tests.collector.mosquitto.kit import Site, site
from village_collector.mosquitto.files import MAX_PACKET_BYTES
from village_wire.address import BrokerAddress, SessionError, SessionSettings, Subscription
from village_wire.areas import chain
from village_wire.connection import Connection, connect
from village_wire.outgoing import Publication
from village_wire.points import MAX_MESSAGE_BYTES
from village_wire.topics import AGENT_CHANNELS, COLLECTORS, collector_subscription

A, B = "lin", "shan"
#: What agent A may do with each of its own topics; with those of others nothing.
OWN = {
    "status": "read write",
    "inventory": "write",
    "telemetry": "write",
    "event": "write",
    "time": "write",
    "command": "read",
    "ack": "read",
    "clock": "read",
    "keys": "read",
    "schedule": "read",
}
#: What it may do in its own area and in those above, and in no other.
AREA = {"command": "read", "live/1": "read", "live/1/x": "read"}
BELOW, BESIDE = f"{VILLAGE}-g01", OTHER
ODD = (
    "village/1",
    "village/1/x",
    "village/1/agent",
    f"village/1/agent/{A}",
    f"village/1/agent/{A}/",
    f"village/1/agent/{A}/x",
    f"village/1/agent/{A}/event/x",
    f"village/1/agent/{A}/command/x",
    f"village/1/agent/{A}x/command",
    "village/1/agent//command",
    f"village/1/area/{VILLAGE}",
    f"village/1/area/{VILLAGE}/event",
    f"village/1/area/{VILLAGE}/command/x",
)
#: Outside of what anybody may do.
FOREIGN = ("x", f"village/2/agent/{A}/event", f"/village/1/agent/{A}/event", f"{A}/event")
#: Filters that an attacker would try, each with a prefix of what it would give.
FILTERS = (
    "#",
    "+/+/+/+/+",
    "+/#",
    "village/#",
    "village/1/agent/+/command",
    "village/1/agent/+/+",
    f"village/1/agent/{B}/#",
    "village/1/area/+/command",
    "village/1/area/#",
    f"village/1/area/{OTHER}/command",
    f"$share/mine/village/1/agent/{B}/#",
    "$share/mine/village/1/#",
    "$share/mine/#",
)


def allowed(agent: str, area: str) -> dict[str, str]:
    rights = {f"village/1/agent/{agent}/{channel}": right for channel, right in OWN.items()}
    return rights | {f"village/1/area/{code}/{end}": right for code in chain(area) for end, right in AREA.items()}


def tree() -> list[str]:
    """Every topic that means something, and some that look alike."""
    topics = [f"village/1/agent/{agent}/{channel}" for agent in (A, B) for channel in AGENT_CHANNELS]
    codes = dict.fromkeys([*chain(VILLAGE), *chain(OTHER), BELOW, BESIDE, "110000000000"])
    topics += [f"village/1/area/{code}/{end}" for code in codes for end in AREA]
    return [*dict.fromkeys([*topics, *ODD])]


class Cast(NamedTuple):
    """Who takes part; all are connected."""

    site: Site
    collector: Connection
    a: Connection
    b: Connection


@asynccontextmanager
async def cast(folder: Path) -> AsyncIterator[Cast]:
    async with site(folder) as it, AsyncExitStack() as stack:
        await it.enrol(A)
        await it.enrol(B, OTHER)
        await it.keeper().prepare()
        collector = await stack.enter_async_context(connect(SessionSettings(it.address, it.name)))
        a = await stack.enter_async_context(connect(it.session(A)))
        b = await stack.enter_async_context(connect(it.session(B)))
        await until_known(collector, a, b)
        yield Cast(it, collector, a, b)


async def until_known(collector: Connection, *agents: Connection) -> None:
    """The broker has read the rules: what each writes arrives."""
    for agent, connection in zip((A, B), agents, strict=True):
        topic = f"village/1/agent/{agent}/time"
        await collector.subscribe([Subscription(topic)])
        async with asyncio.timeout(10):
            while not await arrives(collector, connection, topic):
                pass
    await rest_of(collector)


async def arrives(reader: Connection, writer: Connection, topic: str) -> bool:
    await offer(writer, Publication(topic, b"known?"))
    try:
        async with asyncio.timeout(0.3):
            await anext(aiter(reader.messages()))
    except TimeoutError:
        return False
    return True


async def rest_of(connection: Connection) -> list[bytes]:
    """What still comes."""
    found: list[bytes] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            async for message in connection.messages():
                found += [message.payload]
    return found


async def until(connection: Connection, payload: bytes) -> list[tuple[str, bytes]]:
    """What came before a message; one connection's messages keep their order."""
    found: list[tuple[str, bytes]] = []
    async with asyncio.timeout(10):
        async for message in connection.messages():
            if message.payload == payload:
                return found
            found.append((message.topic, message.payload))
    raise AssertionError("unreachable")


async def write_all(writer: Connection, topics: Iterable[str], mark: str, *, retain: bool = False) -> None:
    for topic in topics:
        await offer(writer, Publication(topic, f"{mark} {topic}".encode(), retain=retain))


async def offer(writer: Connection, message: Publication) -> None:
    """Send what the broker may refuse; that it says so proves nothing."""
    try:
        await writer.publish(message)
    except SessionError as error:
        if "the broker refuses a message" not in str(error):
            raise


def matches(topic: str, topic_filter: str) -> bool:
    """Section 4.7 of MQTT 5."""
    wanted = topic_filter.removeprefix("$share/mine/").split("/")
    parts = topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        parts = parts[: len(wanted)] if len(parts) >= len(wanted) else parts
    return len(wanted) == len(parts) and all(w in {"+", part} for w, part in zip(wanted, parts, strict=True))


def test_the_table_says_something_of_every_channel() -> None:
    assert set(OWN) == set(AGENT_CHANNELS)
    granted = allowed(A, VILLAGE)
    assert set(granted.values()) == {"read", "write", "read write"}
    assert not [topic for topic, right in granted.items() if "command" in topic and "write" in right]
    assert not set(allowed(B, OTHER)) & {topic for topic in granted if f"/{A}/" in topic}


async def test_an_agent_writes_what_the_table_says_and_nothing_else(tmp_path: Path) -> None:
    async with cast(tmp_path) as on:
        await on.collector.subscribe([Subscription("#")])
        await on.b.subscribe([Subscription("#")])
        topics = [
            *tree(),
            *FOREIGN,
            "$SYS/x",
            "$CONTROL/dynamic-security/v1",
            f"$share/{COLLECTORS}-event/village/1/agent/{B}/event",
        ]
        for mark, right in (("plain", False), ("retained", True)):
            await write_all(on.a, topics, mark, retain=right)
            await on.a.publish(Publication(f"village/1/agent/{A}/time", b"end of a"))
            came = {topic for topic, _ in await until(on.collector, b"end of a")}
            assert came == {topic for topic, granted in allowed(A, VILLAGE).items() if "write" in granted}
            # The same by the collector: silence was refusal.
            await write_all(on.collector, tree(), "control")
            await on.collector.publish(Publication("village/1/x", b"end of collector"))
            assert {topic for topic, _ in await until(on.collector, b"end of collector")} == set(tree())
        # B saw nothing of A but what the collector sent to B.
        await on.collector.publish(Publication(f"village/1/agent/{B}/ack", b"end"))
        assert {payload.split()[0] for _, payload in await until(on.b, b"end")} == {b"control"}


@pytest.mark.parametrize("retained", [False, True])
async def test_an_agent_reads_what_the_table_says_and_nothing_else(tmp_path: Path, retained: bool) -> None:
    async with cast(tmp_path) as on:
        readable = {topic for topic, granted in allowed(A, VILLAGE).items() if "read" in granted}
        if retained:
            await write_all(on.collector, tree(), "kept", retain=True)
        for number, topic_filter in enumerate(FILTERS):
            async with connect(SessionSettings(on.site.box(A), A)) as a:
                # A share group is given nothing of what is kept.
                shared = topic_filter.startswith("$share")
                await a.subscribe([Subscription(topic_filter, retained=not shared)])
                if not retained:
                    await write_all(on.collector, tree(), "sent")
                end = f"end {number}".encode()
                await a.subscribe([Subscription(f"village/1/agent/{A}/ack", retained=False)])
                await on.collector.publish(Publication(f"village/1/agent/{A}/ack", end))
                came = {topic for topic, payload in await until(a, end) if not payload.startswith(b"end")}
            expected = {topic for topic in readable if topic in tree() and matches(topic, topic_filter)}
            assert came == (set() if retained and shared else expected), topic_filter
        # B, the collector and everybody else who may are given theirs.
        await on.collector.subscribe([Subscription("village/1/#")])
        await write_all(on.collector, [] if retained else tree(), "sent")
        await on.collector.publish(Publication("village/1/x", b"end"))
        assert {topic for topic, _ in await until(on.collector, b"end")} == set(tree())
        await on.b.subscribe([Subscription("#")])
        await write_all(on.collector, [] if retained else tree(), "sent")
        await on.collector.publish(Publication(f"village/1/agent/{B}/ack", b"end"))
        came = {topic for topic, _ in await until(on.b, b"end")}
        assert came == {topic for topic, granted in allowed(B, OTHER).items() if "read" in granted and topic in tree()}


async def test_a_last_will_goes_only_where_its_agent_may_write(tmp_path: Path) -> None:
    async with cast(tmp_path) as on:
        await on.collector.subscribe([Subscription("village/1/#")])
        await on.b.subscribe([Subscription("#")])
        for topic in tree():
            await asyncio.to_thread(die_with_will, on.site.box(A), topic)
        await asyncio.to_thread(die_with_will, on.site.box(A), f"village/1/agent/{A}/time", b"end of wills")
        came = {topic for topic, payload in await until(on.collector, b"end of wills")}
        assert came == {topic for topic, granted in allowed(A, VILLAGE).items() if "write" in granted}
        await on.collector.publish(Publication(f"village/1/agent/{B}/ack", b"end"))
        assert await until(on.b, b"end") == []


def die_with_will(address: BrokerAddress, topic: str, will: bytes = b"will") -> None:
    """Connect, and go without a goodbye."""
    context = ssl.create_default_context(cafile=address.ca_file)
    context.load_cert_chain(str(address.certificate_file), address.key_file)
    with socket.create_connection((address.host, address.port), 5) as plain:
        stream = context.wrap_socket(plain, server_hostname=address.host)
        stream.sendall(raw_mqtt.connect(A, 60, 0, topic, will, clean=True))
        assert stream.recv(100)[0] >> 4 == raw_mqtt.CONNACK
        stream.close()


async def test_nobody_reads_the_broker_s_own_topics(tmp_path: Path) -> None:
    async with cast(tmp_path) as on:
        for topic_filter in ("$SYS/#", "$SYS/broker/version", "+/broker/version", "$share/mine/$SYS/#", "$CONTROL/#"):
            await on.a.subscribe([Subscription(topic_filter, retained=not topic_filter.startswith("$share"))])
        await on.a.subscribe([Subscription(f"village/1/agent/{A}/ack")])
        await on.collector.publish(Publication(f"village/1/agent/{A}/ack", b"end"))
        assert await until(on.a, b"end") == []
        # They are there for one who may.
        rules = on.site.files / "village.acl"
        rules.write_text(rules.read_text() + "topic read $SYS/broker/version\n")
        on.site.broker.process.send_signal(1)
        async with asyncio.timeout(10), connect(SessionSettings(on.site.box(B), B)) as b:
            while True:
                await b.subscribe([Subscription("$SYS/#")])
                try:
                    async with asyncio.timeout(0.3):
                        message = await anext(aiter(b.messages()))
                except TimeoutError:
                    continue
                assert message.topic == "$SYS/broker/version"
                return


async def test_another_s_name_as_client_id_or_user_gives_nothing(tmp_path: Path) -> None:
    async with cast(tmp_path) as on:
        await on.b.subscribe([Subscription(f"village/1/agent/{B}/command")])
        for client_id, user in ((B, None), (on.site.name, None), (B, B), ("", on.site.name)):
            address = replace(on.site.box(A), username=user, password="x" if user else None)
            async with connect(SessionSettings(address, client_id, expiry=0xFFFF_FFFF)) as thief:
                await thief.subscribe([Subscription("#"), Subscription(f"village/1/agent/{B}/command")])
                await on.collector.publish(Publication(f"village/1/agent/{B}/command", b"for B"))
                async with asyncio.timeout(5):
                    assert (await anext(aiter(on.b.messages()))).payload == b"for B"
                await offer(thief, Publication(f"village/1/agent/{B}/event", b"forged"))
                await on.collector.publish(Publication(f"village/1/agent/{A}/ack", b"end"))
                assert await until(thief, b"end") == []


async def test_the_messages_that_wait_for_another_stay_its_own(tmp_path: Path) -> None:
    async with cast(tmp_path) as on:
        topic = f"village/1/agent/{B}/command"
        forever = 0xFFFF_FFFF
        async with connect(on.site.session(B, expiry=forever)) as b:
            await b.subscribe([Subscription(topic)])
        await on.collector.publish(Publication(topic, b"waits for B"))
        async with connect(on.site.session(A, client_id=B, expiry=forever)) as thief:
            await thief.subscribe([Subscription(f"village/1/agent/{A}/ack")])
            await on.collector.publish(Publication(f"village/1/agent/{A}/ack", b"end"))
            assert await until(thief, b"end") == []
        async with connect(on.site.session(B, expiry=forever)) as b, asyncio.timeout(5):
            assert (await anext(aiter(b.messages()))).payload == b"waits for B"


async def test_an_agent_that_joins_a_guessed_group_takes_nothing_from_the_collectors(tmp_path: Path) -> None:
    """mosquitto gives whoever joins a group its share and drops what that one may not read; so the group has no name to guess."""
    async with cast(tmp_path) as on:
        group = on.site.authority.share_group
        topic = f"village/1/agent/{B}/telemetry"
        assert group != COLLECTORS
        await on.collector.subscribe([Subscription(collector_subscription("telemetry", group), retained=False)])
        await on.a.subscribe([Subscription(collector_subscription("telemetry"), retained=False)])
        for number in range(20):
            await on.b.publish(Publication(topic, str(number).encode()))
        await on.b.publish(Publication(topic, b"end"))
        assert [int(payload) for _, payload in await until(on.collector, b"end")] == list(range(20))
        # With the name it could: that is why nobody may know it.
        await on.a.subscribe([Subscription(collector_subscription("telemetry", group), retained=False)])
        for number in range(20):
            await on.b.publish(Publication(topic, str(number).encode()))
        assert len(await rest_of(on.collector)) < 20


async def test_the_longest_message_passes_and_a_longer_one_ends_its_sender_s_connection(tmp_path: Path) -> None:
    async with cast(tmp_path) as on:
        topic = f"village/1/agent/{A}/telemetry"
        await on.collector.subscribe([Subscription(topic)])
        longest = bytes(MAX_MESSAGE_BYTES)
        await on.a.publish(
            Publication(topic, longest, content_type="t", response_topic="r" * 100, correlation=b"c" * 32)
        )
        async with asyncio.timeout(10):
            assert (await anext(aiter(on.collector.messages()))).payload == longest
        with pytest.raises(SessionError):
            await on.a.publish(Publication(topic, bytes(MAX_PACKET_BYTES)))
        await on.b.publish(Publication(f"village/1/agent/{B}/time", b"still here"))


async def test_who_is_in_no_rule_may_do_nothing(tmp_path: Path) -> None:
    """A certificate of the authority alone is no right: an agent that was never recorded, and the collector's own passing name."""
    async with cast(tmp_path) as on:
        await on.collector.subscribe([Subscription("village/1/#")])
        for name in ("ghost", "village_probe"):
            issued = on.site.authority.issue_passing(name, on.site.now())
            await asyncio.to_thread(on.site.keep, name, issued.pem, (issued.key_pem or "").encode())
            async with connect(SessionSettings(on.site.box(name), name)) as nobody:
                await nobody.subscribe(
                    [Subscription("#"), Subscription("$SYS/#"), Subscription(f"village/1/agent/{name}/command")]
                )
                await write_all(
                    nobody, [*tree(), f"village/1/agent/{name}/event", f"village/1/agent/{name}/status"], "forged"
                )
                await write_all(on.collector, [*tree(), f"village/1/agent/{name}/command"], "sent")
                await on.collector.publish(Publication("village/1/x", b"end"))
                assert {payload.split()[0] for _, payload in await until(on.collector, b"end")} == {b"sent"}
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await anext(aiter(nobody.messages()))
