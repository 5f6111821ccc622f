"""The collector's answer to agents that ask for the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest

from tests.agent.kit import running, until
from tests.collector.kit import SESSION, T0, Outbox, add_site, at, batch, state
from village_collector.stores.control import ControlStore
from village_collector.time_service import MAX_PER_AGENT, MAX_PER_SECOND, TimeService
from village_wire.incoming import Received
from village_wire.time_answer import EXPIRY_SECONDS, TimeAnswer, TimeRequest, encode_time_request, read_time_answer

NONCE = "5e" * 16


def request(agent: str = "lin", nonce: str = NONCE, *, retained: bool = False) -> Received:
    return Received(f"village/1/agent/{agent}/time", encode_time_request(TimeRequest(nonce=nonce)), retained)


@asynccontextmanager
async def service(broker: Outbox, control: ControlStore | None = None) -> AsyncIterator[TimeService]:
    store = (lambda _: None) if control is None else control.store_events
    made = TimeService(broker.signer, broker.publish, store, now=lambda: T0 + timedelta(seconds=3))
    async with running(made.run()):
        yield made


async def test_an_answer_is_signed_for_the_agent_and_its_nonce_and_expires_soon() -> None:
    broker = Outbox()
    async with service(broker) as one:
        one.on_message(request())
        await until(lambda: len(broker.sent) == 1)
    (message,) = broker.sent
    assert (message.topic, message.retain, message.expiry) == ("village/1/agent/lin/clock", False, EXPIRY_SECONDS)
    answer = read_time_answer(message.payload, "lin", broker.key.public_key())
    assert answer == TimeAnswer(agent="lin", nonce=NONCE, time=T0 + timedelta(seconds=3))


async def test_what_is_no_request_of_this_moment_is_logged_once_and_not_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Outbox()
    async with service(broker) as one:
        for message in (
            request(retained=True),
            Received("village/1/agent/lin/time", b'{"nonce":"x"}', retained=False),
            Received("village/1/agent/lin/time", b"{", retained=False),
            Received("village/1/agent/lin/event", encode_time_request(TimeRequest(nonce=NONCE)), retained=False),
            Received("elsewhere/time", b"", retained=False),
        ):
            one.on_message(message)
        one.on_message(request("shan"))
        await until(lambda: len(broker.sent) == 1)
    assert broker.sent[0].topic == "village/1/agent/shan/clock"
    assert len(caplog.records) == 1


async def test_one_agent_that_floods_takes_no_more_than_its_share() -> None:
    broker = Outbox()
    async with service(broker) as one:
        async with asyncio.timeout(5):
            # Within one second of the clock, whenever the test starts.
            while len(broker.sent) < MAX_PER_AGENT + 1:
                broker.sent.clear()
                for _ in range(10 * MAX_PER_SECOND):
                    one.on_message(request("lin"))
                one.on_message(request("shan"))
                await until(lambda: any(message.topic.endswith("shan/clock") for message in broker.sent))
                assert len(broker.sent) <= 2 * MAX_PER_AGENT + 1


async def test_more_than_a_county_at_once_is_bounded_and_a_lost_broker_ends_nothing() -> None:
    broker = Outbox(broken="gone")
    async with service(broker) as one:
        for number in range(3 * MAX_PER_SECOND):
            one.on_message(request(f"agent-{number}"))
        assert one._waiting.qsize() <= MAX_PER_SECOND
        await until(one._waiting.empty)
        broker.broken = ""
        async with asyncio.timeout(5):
            while not broker.sent:
                one.on_message(request("later"))
                await asyncio.sleep(0.05)


async def test_an_agent_that_takes_no_answer_is_degraded_until_it_says_otherwise(control: ControlStore) -> None:
    await asyncio.to_thread(add_site, control)
    broker = Outbox()

    def unsure(seconds: int) -> Received:
        asked = TimeRequest(nonce=NONCE, session=SESSION, unsure_seconds=seconds)
        return Received("village/1/agent/gate-1/time", encode_time_request(asked), retained=False)

    def condition() -> tuple[str | None, str | None]:
        (record,) = control.health_records()[0]
        return record.status, record.code

    async with service(broker, control) as one:
        one.on_message(unsure(59))
        await until(lambda: len(broker.sent) == 1)
        assert await asyncio.to_thread(condition) == (None, None)
        one.on_message(unsure(61))
        async with asyncio.timeout(5):
            while await asyncio.to_thread(condition) != ("degraded", "clock_unsure"):
                await asyncio.sleep(0.01)
    await asyncio.to_thread(control.store_events, [batch("gate-1", state(None, time=at(60)))])
    assert await asyncio.to_thread(condition) == ("ok", "works")


def asking(keys: int | None) -> Received:
    content = encode_time_request(TimeRequest(nonce=NONCE, keys=keys))
    return Received("village/1/agent/lin/time", content, retained=False)


@pytest.mark.parametrize(
    ("known", "sent"), [(None, ["clock"]), (0, ["keys", "clock"]), (2, ["keys", "clock"]), (3, ["clock"])]
)
async def test_an_agent_that_knows_older_keys_gets_the_new_ones_before_the_answer(
    known: int | None, sent: list[str]
) -> None:
    broker = Outbox()
    made = TimeService(broker.signer, broker.publish, lambda _: None, now=lambda: T0, document=lambda: (3, b"keys"))
    async with running(made.run()):
        made.on_message(asking(known))
        await until(lambda: len(broker.sent) == len(sent))
    assert [message.topic.rpartition("/")[2] for message in broker.sent] == sent
    first = broker.sent[0]
    assert (first.payload == b"keys") == (len(sent) == 2)
    assert (first.qos, first.retain) == (1, False)


def _sent(broker: Outbox, number: int) -> bool:
    return len(broker.sent) == number


async def test_a_collector_with_old_keys_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    broker = Outbox()
    made = TimeService(broker.signer, broker.publish, lambda _: None, document=lambda: (3, b"keys"))
    async with running(made.run()):
        for number in (1, 2):
            made.on_message(asking(4))
            await until(partial(_sent, broker, number))
    (record,) = caplog.records
    assert "copy command_key, command_key.next and command_keys.json" in record.getMessage()


async def test_what_an_agent_says_of_its_schedules_is_passed_on_after_the_answer() -> None:
    broker, heard = Outbox(), []
    made = TimeService(
        broker.signer,
        broker.publish,
        lambda _: None,
        has_schedules=lambda *told: heard.append((*told, len(broker.sent))),
    )
    digest = "d" * 32
    async with running(made.run()):
        made.on_message(asking(None))
        await until(partial(_sent, broker, 1))
        content = encode_time_request(TimeRequest(nonce=NONCE, schedules=digest))
        made.on_message(Received("village/1/agent/lin/time", content, retained=False))
        await until(lambda: bool(heard))
    assert heard == [("lin", digest, 2)]
