from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.canned import (
    AGENTS,
    COMMANDS,
    DENIED,
    DEVICES,
    LETTERS,
    ME,
    ONE_AGENT,
    ONE_DEVICE,
    ONE_PERSON,
    PERSONS,
    STARTED,
    TAMPER,
    TOKENS,
    events,
)
from tests.cli.collector import Collector, Village

EVENTS = events(STARTED, TAMPER, DENIED)

LISTINGS: list[tuple[list[str], str, dict[str, Any]]] = [
    (["devices"], "/devices", DEVICES),
    (["agents"], "/agents", AGENTS),
    (["events"], "/events", EVENTS),
    (["agent", "list"], "/agents", AGENTS),
    (["person", "list"], "/persons", PERSONS),
    (["person", "show", "li"], "/persons/li", ONE_PERSON),
    (["token", "list"], "/tokens", TOKENS),
    (["whoami"], "/me", ME),
    (["dead-letters"], "/dead-letters", LETTERS),
    (["device", "show", "gate-1/reader"], "/devices/gate-1/reader", ONE_DEVICE),
    (["device", "show", "gate-1"], "/devices/gate-1/agent", ONE_AGENT),
    (["command", "list"], "/commands", COMMANDS),
]


@pytest.mark.parametrize(("words", "path", "document"), LISTINGS)
def test_json_is_the_collectors_document(
    collector: Collector, village: Village, words: list[str], path: str, document: dict[str, Any]
) -> None:
    collector.answers("GET", path, document)
    run = village(*words, "--json")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == json.dumps(document, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(("words", "path", "document"), LISTINGS)
def test_incomplete_documents_leave_gaps_and_no_traceback(
    collector: Collector, village: Village, words: list[str], path: str, document: dict[str, Any]
) -> None:
    stripped = {key: [{}, 1] if isinstance(value, list) else value for key, value in document.items()}
    stripped.pop("device", None)
    collector.answers("GET", path, stripped)
    run = village(*words)
    assert (run.returncode, run.stderr) == (0, "")


def test_devices(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices", DEVICES)
    run = village("devices", "--area", "441900003001", "--agent", "gate-1", "--tag", "school")
    assert collector.requests[0].query == {"area": ["441900003001"], "agent": ["gate-1"], "tag": ["school"]}
    assert run.stdout.splitlines()[1].split()[:6] == ["gate-1/reader", "村口", "reader", "osdp", "441900003001", "ok"]
    assert "door, indicator" in run.stdout
    assert "hall, school" in run.stdout


def test_agents_tell_offline_from_never_seen(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/agents", AGENTS)
    lines = village("agents").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["gate-1", "441900003001", "yes"],
        ["gate-2", "441900003001", "no"],
        ["gate-3", "441900003001", "unknown"],
    ]


def test_agents_tell_until_when_they_may_connect(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/agents", AGENTS)
    lines = village("agent", "list").stdout.splitlines()
    assert lines[1].endswith("until 2027-10-01 08:30:00 +08:00")
    assert lines[2].endswith("revoked 2026-11-24 08:30:00 +08:00")
    assert lines[3].endswith("token until 2026-11-25 08:30:00 +08:00")
    shown = village("agent", "show", "gate-2").stdout.splitlines()
    assert shown[:3] == ["AGENT: gate-2", "AREA: 441900003001", "ONLINE: no"]
    assert shown[-1] == "CERTIFICATE: revoked 2026-11-24 08:30:00 +08:00"
    document = json.loads(village("agent", "show", "gate-2", "--json").stdout)
    assert document.pop("schema") == "village.agent/1"
    assert document == AGENTS["agents"][1]
    run = village("agent", "show", "gate-9")
    assert run.returncode == 1
    assert run.stderr.startswith("village: There is no agent gate-9.")


def test_one_device(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices/gate-1/reader", ONE_DEVICE)
    lines = village("device", "show", "gate-1/reader").stdout.splitlines()
    assert lines[0] == "DEVICE: gate-1/reader"
    assert {"FIRMWARE: 2.1", "TAGS: hall, school"} <= set(lines)
    assert any(line.split()[:3] == ["sensor", "temperature_c", "21.5"] for line in lines)
    assert any("door access" in line and "26:00123456 denied unknown_card" in line for line in lines)


def test_an_agent_itself_shows_its_buffer_and_what_it_lost(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices/gate-1/agent", ONE_AGENT)
    lines = village("device", "show", "gate-1").stdout.splitlines()
    assert lines[0] == "DEVICE: gate-1"
    assert "BUFFER: buffer for 41.3 h, 312 waiting since 2026-11-24 08:30:00 +08:00" in lines
    lost = lines.index("Lost data")
    assert lines[lost + 1].split() == ["CLASS", "REASON", "LOST", "FROM", "TO", "RECEIVED"]
    assert lines[lost + 2].split()[:4] == ["readings", "outbox", "full", "1204"]
    chinese = village("--lang", "zh", "device", "show", "gate-1").stdout.splitlines()
    assert ["读数", "发件箱已满", "1204"] in [line.split()[:3] for line in chinese]
    assert village("--lang", "zh", "device", "show", "gate-1").stdout.count("缓冲可维持 41.3 小时，312 条待确认") == 1


def test_a_store_that_is_away_is_told_in_place_of_the_readings(collector: Collector, village: Village) -> None:
    away = {**ONE_DEVICE, "readings": [], "readings_problem": "the telemetry store is away"}
    collector.answers("GET", "/devices/gate-1/reader", away)
    assert "the telemetry store is away" in village("device", "show", "gate-1/reader").stdout


def test_events_come_newest_last_in_words(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/events", EVENTS)
    lines = village("events").stdout.splitlines()[1:]
    assert [line.split()[3] for line in lines] == ["gate-1/reader", "gate-1/reader", "gate-1"]
    assert lines[1].endswith("tamper began housing open")
    assert lines[2].endswith("agent started  version=0.1.0")
    chinese = village("--lang", "zh", "events").stdout
    assert "26:00123456 拒绝 未知卡" in chinese
    assert "被拆动 开始 housing open" in chinese


def test_events_are_chosen_by_the_collector(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/events", events())
    options = ["--area", "441900003001", "--agent", "gate-1", "--device", "reader", "--kind", "alarm", "--limit", "5"]
    run = village("events", *options, "--since", "2026-11-24T08:00", "--until", "2026-11-24T12:00:00+00:00")
    assert run.stdout == "Nothing to show.\n"
    assert collector.requests[0].query == {
        "area": ["441900003001"],
        "agent": ["gate-1"],
        "device": ["reader"],
        "kind": ["alarm"],
        "limit": ["5"],
        "since": ["2026-11-24T00:00:00Z"],
        "until": ["2026-11-24T12:00:00Z"],
    }


def test_a_time_that_is_none_is_told_before_anything_is_asked(collector: Collector, village: Village) -> None:
    run = village("events", "--since", "yesterday")
    assert run.returncode == 2
    assert run.stderr.startswith("village: 'yesterday' is no time. Write a span")
    run = village("--lang", "zh", "events", "--since", "yesterday", "--json")
    assert json.loads(run.stderr)["advice"]["zh"].startswith("请写时长")
    assert collector.requests == []


def test_a_kind_that_is_none_is_told_before_anything_is_asked(collector: Collector, village: Village) -> None:
    run = village("events", "--kind", "recipt")
    assert run.returncode == 2
    assert "'recipt' is no kind of event. Choose one of" in run.stderr
    assert "receipt" in run.stderr
    assert collector.requests == []


def test_dead_letters(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/dead-letters", LETTERS)
    assert "not a line of agent gate-1" in village("dead-letters").stdout


def test_commands_with_the_number_of_answers(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/commands", COMMANDS)
    line = village("command", "list").stdout.splitlines()[1].split()
    assert line[3:8] == ["li@desk", "441900003001", "indicate", "done", "2/2"]
