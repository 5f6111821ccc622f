"""Ingest over real stores; what the session would deliver is handed in, what it would send is collected."""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collector.kit import SITE, Outbox, inventory, state, status
from village_collector import agents, ingest
from village_collector.acks import MAX_REFUSED, MAX_STORED, encode_acks
from village_collector.ingest import Ingest
from village_collector.mailbox import Mailbox
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import EventFilter
from village_collector.stores.sqlite import SqliteStore
from village_wire.events import encode_events
from village_wire.incoming import Received
from village_wire.points import CONTENT_DEFLATED, CONTENT_LINES, MAX_INFLATED_BYTES, deflate, encode_point
from village_wire.presence import Ack, decode_message, encode_message

_TELEMETRY, _EVENT = "village/1/agent/a1/telemetry", "village/1/agent/a1/event"
_ACK = "village/1/agent/a1/ack"


class Collector:
    """Ingest, its stores, and what it sent."""

    def __init__(self, folder: Path, control: ControlStore) -> None:
        self.telemetry = SqliteStore(folder / "telemetry.db")
        self.control = control
        self.outbox = Outbox()
        self.notified = 0
        self.ingest = Ingest(self.telemetry, control, self.outbox.send, self._notify)

    def _notify(self) -> None:
        self.notified += 1

    def send(
        self, topic: str, payload: bytes, content: str = CONTENT_LINES, *, batch: str | None = None, **more: object
    ) -> str:
        """Hand a message in; return its batch id."""
        batch = uuid4().hex if batch is None else batch
        answer = str(more.get("response_topic", topic.rpartition("/")[0] + "/ack"))
        self.ingest.on_message(Received(topic, payload, bool(more.get("retained")), content, answer, batch.encode()))
        return batch

    def acks(self) -> Ack:
        """All answers so far in one, each of them to the agent's own topic."""
        assert {message.topic for message in self.outbox.sent} <= {_ACK}
        read = [decode_message(Ack, message.payload) for message in self.outbox.sent]
        return Ack(stored=sum((a.stored for a in read), ()), refused=sum((a.refused for a in read), ()))

    async def answered(self, count: int) -> Ack:
        """Wait for that many answers."""
        await until(lambda: len(self.acks().stored) + len(self.acks().refused) >= count)
        return self.acks()

    async def values(self, agent: str = "a1") -> list[object]:
        now = datetime.now(UTC)
        found = await self.telemetry.history(
            agent, "d", "sensor", "value", now - timedelta(1), now + timedelta(1), 9999
        )
        return [sample.value for sample in found]

    async def letters(self) -> list[tuple[str, str]]:
        return [(found.agent, found.reason) for found in await asyncio.to_thread(self.control.dead_letters, 100)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def until_stored(condition: Callable[[], bool]) -> None:
    """The same for a condition that reads from the disk."""
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.005)


@asynccontextmanager
async def collector(folder: Path, control: ControlStore) -> AsyncIterator[Collector]:
    made = Collector(folder, control)
    task = asyncio.create_task(made.ingest.run(), name="ingest")
    try:
        yield made
        made.ingest.stop()
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await made.telemetry.close()


def line(value: float = 1.0, agent: str = "a1", back: float = 1.0) -> bytes:
    return encode_point("sensor", agent, "d", {"value": value}, time.time_ns() - int(back * 1e9))


async def test_stores_and_then_acknowledges(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        plain = it.send(_TELEMETRY, line(1.0, back=3))
        packed = it.send(_TELEMETRY, deflate(line(2.0, back=2) + b"\n" + line(3.0, back=1) + b"\n"), CONTENT_DEFLATED)
        ack = await it.answered(2)
        assert (set(ack.stored), ack.refused) == ({plain, packed}, ())
        assert await it.values() == [1.0, 2.0, 3.0]
    assert await it.letters() == []
    found = await asyncio.to_thread(control.agent_summaries)
    assert [(summary.agent, summary.last_seen is not None) for summary in found] == [("a1", True)]


async def test_one_message_answers_many_batches(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        sent = {it.send(_TELEMETRY, line(n, back=n + 1)) for n in range(500)}
        assert set((await it.answered(500)).stored) == sent
        assert len(it.outbox.sent) <= 2


async def test_never_publishes_where_a_sender_chose(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        for chosen in ("village/1/agent/other/ack", "village/1/area/440000000000/command", "", _ACK + "/x"):
            it.send(_TELEMETRY, line(back=2), response_topic=chosen)
            it.send(_TELEMETRY, b"nonsense", response_topic=chosen)
        for identity in ("x", "A" * 32, "0" * 31, "0" * 33):
            it.send(_TELEMETRY, line(back=3), batch=identity)
        last = it.send(_TELEMETRY, line(back=1))
        assert (await it.answered(1)).stored == (last,)
        assert len(await it.values()) == 9


_BOMB = zlib.compress(b"\0" * (MAX_INFLATED_BYTES + 1), 9)


@pytest.mark.parametrize(
    ("payload", "content", "reason"),
    [
        (b"nonsense", CONTENT_LINES, "not a line of agent a1"),
        (line(agent="a2"), CONTENT_LINES, "not a line of agent a1"),
        (line() + b"\n" + line(agent="a2"), CONTENT_LINES, "not a line of agent a1"),
        (line().replace(b"device=d", b"device=d,agent=a2"), CONTENT_LINES, "names an agent twice"),
        (b"", CONTENT_LINES, "not a line of agent a1"),
        (_BOMB, CONTENT_DEFLATED, "inflates to more than"),
        (b"nonsense", CONTENT_DEFLATED, "broken compression"),
        (deflate(line())[:-3], CONTENT_DEFLATED, "broken compression"),
        (line(), "text/plain", "unknown content type 'text/plain'"),
        (b"x" * 300_000, CONTENT_LINES, "over the limit"),
    ],
    ids=["nonsense", "foreign", "mixed", "twice", "empty", "bomb", "not-zlib", "cut", "type", "long"],
)
async def test_refuses_with_the_reason(
    tmp_path: Path, control: ControlStore, payload: bytes, content: str, reason: str
) -> None:
    async with collector(tmp_path, control) as it:
        wrong = it.send(_TELEMETRY, payload, content)
        good = it.send(_TELEMETRY, line())
        ack = await it.answered(2)
        assert ack.stored == (good,)
        assert [refused.batch for refused in ack.refused] == [wrong]
        assert reason in ack.refused[0].reason
        assert [(agent, reason in said) for agent, said in await it.letters()] == [("a1", True)]
        kept = await asyncio.to_thread(control.dead_letters, 1)
        assert kept[0].content == payload[:4096]
        assert await it.values() == [1.0]


async def test_refuses_what_the_broker_kept(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        it.send(_TELEMETRY, line(), retained=True)
        it.send(_EVENT, encode_events([state("d")]), retained=True)
        ack = await it.answered(2)
        assert not ack.stored
        assert all("retained" in refused.reason for refused in ack.refused)
        assert await it.values() == []


async def test_a_line_that_the_store_refuses_does_not_hurt_its_batch(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        bad = b"sensor,agent=a1,device=d value=high 1"
        sent = it.send(_TELEMETRY, b"\n".join([line(back=2), bad, line(back=1)]))
        assert (await it.answered(1)).stored == (sent,)
        assert len(await it.values()) == 2
        assert [agent for agent, _ in await it.letters()] == ["a1"]
        assert (await asyncio.to_thread(control.dead_letters, 1))[0].content == bad


async def test_many_refused_lines_are_summed_up(
    tmp_path: Path, control: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MAX_LETTERS", 3)
    async with collector(tmp_path, control) as it:
        it.send(_TELEMETRY, b"\n".join([b"sensor,agent=a1,device=d x"] * 10))
        await it.answered(1)
        letters = await it.letters()
        assert len(letters) == 4
        assert ("", "7 more lines of the same block were refused") in letters


async def test_an_event_that_comes_twice_is_stored_once(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        happened = [state("d"), state(None)]
        sent = [it.send(_EVENT, encode_events(happened), "application/json") for _ in range(2)]
        assert set((await it.answered(2)).stored) == set(sent)
        again = it.send(_EVENT, encode_events(happened), "application/json")
        assert again in (await it.answered(3)).stored
        page = await asyncio.to_thread(control.events, EventFilter(), 10)
        assert {found.id for found in page.events} == {str(found.id) for found in happened}
        assert it.notified >= 2


async def test_refuses_events_of_no_model(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        it.send(_EVENT, b'{"events": []}', "application/json")
        it.send(_EVENT, b"\xff", "application/json")
        good = it.send(_EVENT, encode_events([state("d")]), "application/json")
        ack = await it.answered(3)
        assert (ack.stored, len(ack.refused)) == ((good,), 2)
        assert len(await it.letters()) == 2


async def test_keeps_status_and_inventory(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        it.send("village/1/agent/a1/status", encode_message(status(online=True)), retained=True)
        it.send("village/1/agent/a1/inventory", encode_message(inventory("a1", *SITE)), retained=True)
        it.send("village/1/agent/a1/inventory", encode_message(inventory("a2", *SITE)))
        it.send("village/1/agent/a1/status", b"{}")
        it.send("village/1/agent/a1/status", b"")
        it.send("village/1/agent/A1/status", encode_message(status(online=True)))
        await until_stored(lambda: len(control.dead_letters(10)) == 3)
        found = await asyncio.to_thread(control.agent_summaries)
        assert [(summary.agent, summary.online, summary.devices, summary.last_seen) for summary in found] == [
            ("a1", True, 3, None)
        ]
        it.send("village/1/agent/a1/status", encode_message(status(online=False)))
        await until_stored(lambda: control.agent_summaries()[0].online is False)
        it.send("village/1/agent/a1/status", encode_message(status(online=True)))
        await until_stored(lambda: control.agent_summaries()[0].online is True)


async def test_a_store_that_is_away(tmp_path: Path, control: ControlStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "village_collector")
    folder = tmp_path / "disk"
    async with collector(folder, control) as it:
        sent = [it.send(_TELEMETRY, line(back=n)) for n in (1, 2)]
        await until(lambda: it.ingest.problem is not None)
        # Events have a store of their own.
        other = it.send(_EVENT, encode_events([state("d")]), "application/json")
        assert (await it.answered(1)).stored == (other,)
        problem = it.ingest.problem
        assert problem is not None
        assert (problem.part, "check that its folder exists" in problem.text) == ("store", True)
        folder.mkdir()
        assert set((await it.answered(3)).stored) == {other, *sent}
        assert it.ingest.problem is None
        assert len(await it.values()) == 2
    said = [record.message for record in caplog.records if record.name.endswith("retry")]
    assert len(said) == 2
    assert said[1] == "the telemetry store takes data again"


async def test_a_lost_answer_is_got_over(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        it.outbox.broken = "not connected"
        sent = it.send(_TELEMETRY, line())
        await until(lambda: len(it.ingest._readings) == 0)
        async with asyncio.timeout(5):
            while not await it.values():
                await asyncio.sleep(0.01)
        it.outbox.broken = ""
        # The agent had no answer, so it sends again.
        await until(lambda: bool(it.send(_TELEMETRY, line(), batch=sent)) and bool(it.outbox.sent))
        assert set((await it.answered(1)).stored) == {sent}


async def test_stopping_finishes_the_block_in_hand(tmp_path: Path, control: ControlStore) -> None:
    async with collector(tmp_path, control) as it:
        await until((tmp_path / "telemetry.db").exists)
        sent = it.send(_TELEMETRY, line())
        await until(lambda: len(it.ingest._readings) == 0)
    assert it.acks().stored == (sent,)


async def test_a_fault_in_one_block_does_not_stop_the_next(
    tmp_path: Path, control: ControlStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with collector(tmp_path, control) as it:
        with monkeypatch.context() as broken:
            broken.setattr(ingest, "check_batch", lambda lines, agent: 1 // 0)
            it.send(_TELEMETRY, line())
            await until(lambda: "ZeroDivisionError" in caplog.text)
        sent = it.send(_TELEMETRY, line())
        assert (await it.answered(1)).stored == (sent,)


async def test_seen_is_written_in_between(
    tmp_path: Path, control: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "SEEN_SECONDS", 0.02)
    async with collector(tmp_path, control) as it:
        it.send(_TELEMETRY, line())
        await until_stored(lambda: bool(control.agent_summaries()))


_MESSAGES = st.builds(
    Received,
    st.sampled_from([_TELEMETRY, _EVENT, "village/1/agent/a1/status", "village/1/agent/a1/inventory", "x", ""])
    | st.text(max_size=40),
    st.binary(max_size=200) | st.just(line()) | st.just(encode_events([state("d")])),
    st.booleans(),
    st.sampled_from([CONTENT_LINES, CONTENT_DEFLATED, ""]),
    st.sampled_from([_ACK, "", "#"]),
    st.just(b"0" * 32) | st.binary(max_size=40),
)


@settings(max_examples=25, deadline=None)
@given(messages=st.lists(_MESSAGES, max_size=30))
def test_whatever_comes_is_answered_only_to_its_agent(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Received]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    control = ControlStore(f"sqlite:///{folder / 'control.db'}")
    control.open()

    async def run() -> None:
        async with collector(folder, control) as it:
            for message in messages:
                it.ingest.on_message(message)
            last = it.send(_TELEMETRY, line())
            await until(lambda: last in it.acks().stored)

    asyncio.run(run())
    control.close()


def _message(size: int, batch: bytes = b"", topic: str = "t") -> Received:
    return Received(topic, b"x" * size, retained=False, correlation=batch)


async def test_a_mailbox_is_bounded_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    box = Mailbox("telemetry", 10_000)
    for number in range(100):
        box.put(_message(1000, topic=chr(number + 32)))
    assert len(box) == 7
    for _ in range(4):
        box.pop()
    assert [record.message.split(":")[1][:30] for record in caplog.records] == [
        " 9807 bytes wait to be stored;",
        " takes messages again; 93 were",
    ]
    for number in range(100_000):
        box.put(_message(0, topic=chr(number % 100 + 32)))
    assert len(box) < 30


async def test_a_batch_waits_once() -> None:
    box = Mailbox("telemetry", 100_000)
    for _ in range(3):
        box.put(_message(1, b"a"))
        box.put(_message(1, b"b"))
        box.put(_message(1))
    assert len(box) == 5
    assert [box.pop() is None for _ in range(6)] == [False] * 5 + [True]
    box.put(_message(1, b"a"))
    assert len(box) == 1


def test_long_answers_become_several_messages() -> None:
    stored = [uuid4().hex for _ in range(MAX_STORED + 1)]
    refused = [(uuid4().hex, "\ud800" + "\0" * 499) for _ in range(MAX_REFUSED + 1)]
    payloads = encode_acks(stored, refused)
    assert len(payloads) == 2
    read = [decode_message(Ack, payload) for payload in payloads]
    assert [batch for ack in read for batch in ack.stored] == stored
    assert [entry.batch for ack in read for entry in ack.refused] == [batch for batch, _ in refused]
