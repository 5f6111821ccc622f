"""Health rows as a pure function, and what a whole county costs."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.collector.kit import OTHER, SESSION, T0, VILLAGE, at, batch, entry, settle, state, status
from village_collector.agent_health import LINK_GRACE, LOSS_SHOWN, UNSTABLE_WINDOW
from village_collector.health import collector_health, evaluate, summarise
from village_collector.health_model import AgentRecord, DeviceRecord, Doubt, Lost
from village_collector.ports import Problem
from village_collector.stores.control import ControlStore
from village_wire.states import ADVICE, Status

NOW = at(60)


def agent(
    name: str = "gate-1",
    *,
    online: bool | None = True,
    state: tuple[Status, str, str] | None = None,
    seen: float = 0,
    area: str = VILLAGE,
) -> AgentRecord:
    received = None if online is None else T0
    status, code, evidence = state or (None, None, None)
    return AgentRecord(
        name, area, online, SESSION, "1", received, at(seen), status, code, evidence, at(1) if state else None
    )


def device(name: str, *state: str, agent: str = "gate-1") -> DeviceRecord:
    status, code, evidence = state or (None, None, None)
    return DeviceRecord(agent, name, "村口", "osdp", "reader", status, code, evidence, at(2) if state else None)


def test_a_device_tells_its_own_state() -> None:
    rows = evaluate([agent()], [device("reader", "down", "no_answer", "3 polls")], NOW)
    assert rows[0] == {
        "agent": "gate-1",
        "area": VILLAGE,
        "device": "reader",
        "name": "村口",
        "driver": "osdp",
        "kind": "reader",
        "status": "down",
        "code": "no_answer",
        "evidence": "3 polls",
        "since": "2026-11-24T08:00:02.000000Z",
        "last_seen": "2026-11-24T08:00:00.000000Z",
        "advice": {"en": ADVICE["no_answer"][0], "zh": ADVICE["no_answer"][1]},
        "buffer": None,
        "lost": [],
    }
    assert (rows[1]["device"], rows[1]["kind"], rows[1]["status"], rows[1]["code"]) == ("", "agent", "ok", "works")


def test_an_offline_agent_makes_its_devices_unknown_and_names_what_was_last_known() -> None:
    rows = evaluate(
        [agent(online=False)], [device("a", "ok", "works", ""), device("b", "down", "tamper", "x"), device("c")], NOW
    )
    told = [(row["device"], row["status"], row["code"], row["since"], row["evidence"]) for row in rows]
    since = "2026-11-24T08:00:00.000000Z"
    assert told == [
        ("", "down", "agent_offline", since, f"offline since {since}"),
        ("a", "unknown", "agent_offline", since, f"agent offline since {since}; last known: ok"),
        ("b", "unknown", "agent_offline", since, f"agent offline since {since}; last known: down (tamper)"),
        ("c", "unknown", "agent_offline", since, f"agent offline since {since}; last known: nothing"),
    ]


def test_a_link_that_is_lost_for_seconds_changes_no_status() -> None:
    lost = agent(online=False, state=("degraded", "disk_full", "97 %"))
    devices = [device("a", "ok", "works", "seen"), device("b", "down", "no_answer", "3 polls")]
    own, other = (
        [row for row in evaluate([lost], devices, T0 + span) if row["device"] in {"", "a"}]
        for span in (LINK_GRACE - timedelta(seconds=1), LINK_GRACE)
    )
    assert [(row["device"], row["status"], row["code"], row["evidence"]) for row in own] == [
        ("", "degraded", "link_lost", "link lost 14 s ago; before that degraded (disk_full): 97 %"),
        ("a", "ok", "works", "seen"),
    ]
    assert [(row["device"], row["status"], row["code"]) for row in other] == [
        ("", "down", "agent_offline"),
        ("a", "unknown", "agent_offline"),
    ]
    (row,) = evaluate([agent(online=False)], [], at(4))
    assert (row["status"], row["code"], row["evidence"]) == ("ok", "link_lost", "link lost 4 s ago")
    # The collector's clock was set back: nothing is a fresh loss for ever.
    (row,) = evaluate([agent(online=False)], [], at(-4))
    assert row["status"] == "down"


def test_a_link_that_is_lost_again_and_again_is_unstable() -> None:
    losses = (at(1), at(300), at(590))
    for online in (True, False):
        record = agent(online=online)._replace(link_losses=losses, status_received=at(590))
        (row,) = evaluate([record], [], at(600))
        assert (row["status"], row["code"]) == ("degraded", "unstable")
        assert row["evidence"] == "connection lost 3 times in 10 min, last at 2026-11-24T08:09:50.000000Z"
        assert row["advice"]["zh"]
    (row,) = evaluate([agent()._replace(link_losses=losses)], [], at(1) + UNSTABLE_WINDOW)
    assert row["status"] == "ok"
    (row,) = evaluate([agent(state=("down", "disk_full", ""))._replace(link_losses=losses)], [], at(600))
    assert (row["status"], row["code"]) == ("down", "disk_full")


def test_new_losses_of_data_are_shown_for_a_day() -> None:
    entries = [Lost("telemetry", f"reason {n}", 10 + n, at(-9), at(0), at(n)) for n in range(4)]
    record = agent()._replace(ledger=entries)
    (row,) = evaluate([record], [], NOW)
    assert (row["status"], row["code"], row["since"]) == ("degraded", "data_lost", "2026-11-24T08:00:00.000000Z")
    assert row["evidence"].startswith("10 of class telemetry lost (reason 0), dated 2026-11-24T07:59:51.000000Z to")
    assert row["evidence"].endswith("; 1 reasons more")
    assert [entry["count"] for entry in row["lost"]] == [10, 11, 12, 13]
    (row,) = evaluate([record._replace(last_seen=at(3) + LOSS_SHOWN)], [], at(3) + LOSS_SHOWN)
    assert (row["status"], len(row["lost"])) == ("ok", 4)


def test_what_was_never_reported_is_unknown_not_well() -> None:
    rows = evaluate([agent()], [device("reader")], NOW)
    assert [(row["device"], row["status"], row["code"]) for row in rows] == [
        ("reader", "unknown", "not_reported"),
        ("", "ok", "works"),
    ]


def test_an_agent_without_a_status_was_never_seen() -> None:
    rows = evaluate([agent(online=None)], [device("reader")], NOW)
    assert {(row["status"], row["code"], row["since"]) for row in rows} == {("unknown", "never_seen", None)}


def test_an_agent_that_is_silent_for_long_is_not_called_well() -> None:
    rows = evaluate([agent(seen=30)], [device("reader", "ok", "works", "")], at(30 + 15 * 60 + 1))
    assert {(row["status"], row["code"], row["since"]) for row in rows} == {
        ("unknown", "agent_silent", "2026-11-24T08:00:30.000000Z")
    }
    rows = evaluate([agent(seen=30)], [device("reader", "ok", "works", "")], at(30 + 15 * 60))
    assert {row["status"] for row in rows} == {"ok"}


@pytest.mark.parametrize("doubt", ["collector_lost", "not_heard"])
def test_what_a_deaf_collector_last_knew_is_not_called_well(doubt: Doubt) -> None:
    records = [agent("in-doubt", seen=30), agent("sure"), agent("offline", online=False)]
    devices = [device("reader", "ok", "works", "", agent="in-doubt")]
    rows = evaluate(records, devices, NOW, lambda name: doubt if name == "in-doubt" else "")
    told = {(row["agent"], row["device"]): (row["status"], row["code"]) for row in rows}
    assert told == {
        ("in-doubt", ""): ("unknown", doubt),
        ("in-doubt", "reader"): ("unknown", doubt),
        ("sure", ""): ("ok", "works"),
        ("offline", ""): ("down", "agent_offline"),
    }


def test_the_agent_tells_its_own_state() -> None:
    (row,) = evaluate([agent(state=("degraded", "disk_full", "97 %"))], [], NOW)
    assert (row["status"], row["code"], row["evidence"], row["since"]) == (
        "degraded",
        "disk_full",
        "97 %",
        "2026-11-24T08:00:01.000000Z",
    )


def test_the_worst_come_first_then_area_agent_and_device() -> None:
    agents = [agent("z", area=VILLAGE), agent("a", area=OTHER), agent("gone", online=False)]
    devices = [
        device("d1", "degraded", "noise", "", agent="a"),
        device("d2", "down", "tamper", "", agent="z"),
        device("d1", "down", "tamper", "", agent="z"),
        device("d3", "down", "tamper", "", agent="a"),
        device("d4", agent="a"),
        device("d9", "ok", "works", "", agent="unheard"),
    ]
    rows = evaluate(agents, devices, NOW)
    assert [(row["agent"], row["device"]) for row in rows] == [
        ("gone", ""),
        ("z", "d1"),
        ("z", "d2"),
        ("a", "d3"),
        ("a", "d1"),
        ("a", "d4"),
        ("z", ""),
        ("a", ""),
    ]
    assert summarise(rows) == {"ok": 2, "degraded": 1, "down": 4, "unknown": 1}


def test_the_collector_names_what_keeps_it_from_working() -> None:
    assert collector_health([])["status"] == "ok"
    row = collector_health([Problem("broker", T0, "refused"), Problem("store", T0, "disk full")])
    assert (row["status"], row["code"]) == ("down", "collector_lost")
    assert "broker since 2026-11-24T08:00:00.000000Z: refused; store since" in row["evidence"]
    assert row["advice"]["zh"]


@pytest.fixture
def county(tmp_path: Path) -> ControlStore:
    control = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    control.open()
    devices = [entry(f"device-{number}", "door", name="东门") for number in range(10)]
    changes = [state(f"device-{n}", "down" if n == 3 else "ok", "no_answer" if n == 3 else "works") for n in range(10)]
    names = [f"agent-{number:04}" for number in range(1000)]
    settle(control, {name: f"4419{n // 100:02}{n % 100:03}001" for n, name in enumerate(names)}, *devices)
    told = []
    for number, name in enumerate(names):
        control.store_status(name, status(number % 10 != 0), T0)
        mine = [
            change.model_copy(update={"id": change.id.__class__(int=change.id.int + number + 1)}) for change in changes
        ]
        told.append(batch(name, *mine))
    control.store_events(told)
    return control


@pytest.mark.timeout(120)
def test_health_of_a_thousand_agents_with_ten_devices_each(county: ControlStore) -> None:
    took = []
    for _ in range(5):
        start = time.perf_counter()
        rows = evaluate(*county.health_records(), NOW)
        text = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
        took.append(time.perf_counter() - start)
    county.close()
    assert len(rows) == 11_000
    print(f"\n11,000 health rows, {len(text) / 1e6:.1f} MB: {min(took):.3f} s at best, {max(took):.3f} s at worst")
    assert min(took) < 2.0
