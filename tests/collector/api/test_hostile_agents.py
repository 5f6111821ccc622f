"""An enrolled box in wrong hands says the worst that its messages may hold: every answer to people still comes."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collector.api.conftest import Collector
from tests.collector.kit import SESSION, at
from village_collector.ports import ReceivedEvents, Sample
from village_wire.events import decode_events
from village_wire.ids import uuid7
from village_wire.points import InvalidBatch
from village_wire.presence import AgentStatus, InvalidMessage, Inventory, decode_message

#: Every route that people read, with what an agent could have spoilt.
READS = (
    "/health",
    "/devices",
    "/devices/gate-1/reader",
    "/agents",
    "/events",
    "/events?agent=gate-1&kind=command_result",
    "/commands",
    "/dead-letters",
    "/audit",
)
FAR = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59Z")
WORDS = ("", "\0", "\x1b[2J\x07\u202e", "\u2028\ufffe\U0010ffff", "x" * 1000, '"}],[{"', "=cmd|' /C calc'!A0")


@pytest.fixture(autouse=True)
def _no_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def _payload(data: dict[str, Any], **more: Any) -> str:
    event = {"id": str(uuid7(1)), "time": "2026-11-24T08:00:10Z", "device": "reader", **more, "data": data}
    return json.dumps({"events": [event]})


async def _say(collector: Collector, payload: str) -> bool:
    """Deliver a message as ingest does; tell whether it was taken."""
    try:
        events = decode_events(payload.encode())
    except InvalidBatch:
        return False
    await asyncio.to_thread(collector.control.store_events, [ReceivedEvents("gate-1", at(10), events)])
    return True


async def _all_answer(client: httpx.AsyncClient) -> None:
    for path in READS:
        response = await client.get(path)
        assert response.status_code == 200, (path, response.text)
        response.json()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "Infinity", "NaN", "9" * 4000, "1e308", "-1", '"x"', "null"])
async def test_any_number(collector: Collector, client: httpx.AsyncClient, number: str) -> None:
    for data in (
        {"kind": "door_unlocked", "seconds": 12321, "by": "button"},
        {"kind": "command_result", "command": str(uuid7(2)), "outcome": "done", "result": {"x": 12321}},
        {"kind": "loss", "item_class": "event", "reason": "r", "count": 12321, "first": FAR[0], "last": FAR[1]},
    ):
        await _say(collector, _payload(data).replace("12321", number))
    await _all_answer(client)


async def test_readings_whose_mean_is_infinite(collector: Collector, client: httpx.AsyncClient) -> None:
    samples = [Sample(at(n), value) for n, value in enumerate((1.0, math.inf, -math.inf, 1e308))]
    collector.telemetry.samples["gate-1", "reader", "sensor", "value"] = samples
    response = await client.get("/devices/gate-1/reader/history?field=value")
    assert [value for _, value in response.json()["samples"]] == [1.0, 1e308]


@pytest.mark.parametrize("time", FAR)
@pytest.mark.parametrize("since", FAR)
async def test_any_time(collector: Collector, client: httpx.AsyncClient, time: str, since: str) -> None:
    state = {"kind": "state_changed", "status": "down", "code": "x", "evidence": "", "since": since, "session": SESSION}
    loss = {"kind": "loss", "item_class": "event", "reason": "r", "count": 1, "first": since, "last": time}
    for data in (state, loss):
        for device in ("reader", None):
            assert await _say(collector, _payload(data, time=time, device=device))
    status = {"online": True, "session": "c" * 32, "version": "1", "since": since, "connection": 2**31 - 1}
    read = decode_message(AgentStatus, json.dumps(status).encode())
    await asyncio.to_thread(collector.control.store_status, "gate-1", read, at(10))
    await _all_answer(client)


@pytest.mark.parametrize("word", WORDS)
async def test_any_word(collector: Collector, client: httpx.AsyncClient, word: str) -> None:
    for data in (
        {"kind": "state_changed", "status": "down", "code": "x", "evidence": word, "since": FAR[0], "session": SESSION},
        {"kind": "alarm", "code": "x", "active": True, "evidence": word},
        {"kind": "door_access", "credential": word[:80], "outcome": "denied", "reason": "x"},
        {"kind": "command_result", "command": str(uuid7(2)), "outcome": "done", "reason": word, "result": {word: word}},
        {"kind": "loss", "item_class": "event", "reason": word[:200], "count": 1, "first": FAR[0], "last": FAR[1]},
    ):
        assert await _say(collector, _payload(data))
    inventory = {
        "agent": "gate-1", "area": "441900003001", "config_version": word[:64],
        "devices": [{"id": "reader", "driver": word[:40], "kind": word[:40], "abilities": [word[:40]] * 3, "name": word[:80], "firmware": word[:80]}],
    }  # fmt: skip
    read = decode_message(Inventory, json.dumps(inventory).encode())
    await asyncio.to_thread(collector.control.store_inventory, read, at(10))
    await _all_answer(client)


@pytest.mark.parametrize("depth", [150, 1000, 100_000])
async def test_any_depth(collector: Collector, client: httpx.AsyncClient, depth: int) -> None:
    data = {"kind": "command_result", "command": str(uuid7(2)), "outcome": "done", "result": {"x": 12321}}
    taken = await _say(collector, _payload(data).replace("12321", "[" * depth + "]" * depth))
    assert taken == (depth == 150)
    await _all_answer(client)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(FAR),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_VALUES, _VALUES, st.sampled_from(FAR))
async def test_any_json(collector: Collector, client: httpx.AsyncClient, first: Any, second: Any, time: str) -> None:
    for data in (
        {"kind": "command_result", "command": str(uuid7(2)), "outcome": "done", "result": {"x": first}},
        {"kind": "door_unlocked", "seconds": first, "by": "button"},
        {"kind": "state_changed", "status": first, "code": second, "evidence": first, "since": time, "session": second},
    ):
        await _say(collector, _payload(data, time=time, id=str(uuid7(3))))
    with suppress(InvalidMessage):
        decode_message(Inventory, json.dumps({"agent": first, "devices": second, "area": first}).encode())
    await _all_answer(client)
