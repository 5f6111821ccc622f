from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.canned import COMMAND, command, problem, result
from tests.cli.collector import Collector, Reply, Village

SHOW = f"/commands/{COMMAND}"
WAITING = command("waiting", [])
ALL = command("done", [result("gate-1", "done"), result("gate-2", "done")])
SOME = command("expired", [result("gate-1", "done")])
FAILED = result("gate-2", "failed", "amplifier off")
NONE = command("done", [result("gate-1", "refused", "expired"), result("gate-2", "failed", "amplifier off")])


@pytest.mark.parametrize(("last", "code"), [(ALL, 0), (SOME, 1), (NONE, 2), (command("expired", []), 2)])
def test_the_exit_code_is_how_many_did_it(
    collector: Collector, village: Village, last: dict[str, Any], code: int
) -> None:
    collector.answers("POST", "/commands", last, status=202)
    assert village("command", "gate-1", "indicate").returncode == code
    run = village("command", "--json", "gate-1", "indicate")
    assert run.returncode == code
    assert run.stdout == json.dumps(last, ensure_ascii=False) + "\n"


def test_each_answer_is_told_as_it_comes(collector: Collector, village: Village) -> None:
    first_done = command("waiting", [result("gate-1", "done")])
    collector.answers("POST", "/commands", WAITING, status=202)
    playing = command("waiting", [result("gate-1", "accepted")])
    collector.answers("GET", SHOW, playing, first_done, command("done", [result("gate-1", "done"), FAILED]))
    run = village("command", "441900003001", "indicate", "--expires", "2m")
    assert run.stdout.splitlines() == [
        "gate-1/speaker  accepted",
        "gate-1/speaker  done  3.2 s of sound",
        "gate-2/speaker  failed  amplifier off",
        "1 of 2 devices done; missing: gate-2/speaker (amplifier off)",
    ]
    assert run.returncode == 1
    assert collector.requests[0].document == {
        "target": {"area": "441900003001"},
        "arguments": {"kind": "indicate"},
        "expires_in": 120,
    }
    assert [request.query["seen"] for request in collector.requests[1:]] == [["0"], ["1"], ["1"]]
    assert all("wait" in request.query for request in collector.requests[1:])


def test_a_command_under_way_is_not_known_yet(collector: Collector, village: Village) -> None:
    collector.answers("GET", SHOW, command("waiting", [result("gate-1", "done")]))
    run = village("command", "show", COMMAND)
    assert run.returncode == 3
    assert run.stdout.endswith("1 of 2 devices done; waiting for: gate-2/speaker\n")


def test_silence_is_told_as_no_answer(collector: Collector, village: Village) -> None:
    collector.answers("GET", SHOW, SOME)
    run = village("command", "show", COMMAND)
    assert run.stdout.splitlines() == [
        "gate-1/speaker  done  3.2 s of sound",
        "gate-2/speaker  no answer",
        "1 of 2 devices done; missing: gate-2/speaker (no answer)",
    ]
    assert run.returncode == 1
    chinese = village("--lang", "zh", "command", "show", COMMAND).stdout
    assert "2 台设备中有 1 台已完成；缺失：gate-2/speaker (无应答)" in chinese


def test_why_a_device_refused_is_told_in_chinese(collector: Collector, village: Village) -> None:
    refused = result("gate-1", "refused", reason="this device can't unlock")
    collector.answers("GET", SHOW, command("done", [refused], ("gate-1",)))
    lines = village("--lang", "zh", "command", "show", COMMAND).stdout.splitlines()
    assert lines == [
        "gate-1/speaker  拒绝  该设备不支持开锁",
        "1 台设备中有 0 台已完成；缺失：gate-1/speaker (该设备不支持开锁)",
    ]


def test_a_command_that_was_not_sent_says_so(collector: Collector, village: Village) -> None:
    collector.answers("GET", SHOW, {**command("expired", []), "sent": False, "problem": "the broker is away"})
    assert "The collector could not send it: the broker is away" in village("command", "show", COMMAND).stdout


def test_no_wait_tells_how_to_look_later(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/commands", WAITING, status=202)
    run = village("command", "--no-wait", "gate-1", "indicate")
    assert run.returncode == 0
    assert run.stdout == f"Sent as {COMMAND}.\nLook at it with: village command show {COMMAND}\n"
    assert len(collector.requests) == 1


def test_a_collector_that_is_busy_for_a_moment_is_asked_again(collector: Collector, village: Village) -> None:
    busy = json.dumps(problem(503, "50 requests wait already", "", "")).encode()
    collector.answers("POST", "/commands", WAITING, status=202)
    collector.gives("GET", SHOW, Reply(busy, 503, "application/problem+json"), Reply(json.dumps(ALL).encode()))
    run = village("command", "gate-1", "indicate")
    assert run.returncode == 0
    assert run.stderr == ""


def test_a_lost_answer_tells_how_to_look_later(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/commands", WAITING, status=202)
    collector.answers("GET", SHOW, problem(404, "no command", "", ""), status=404)
    run = village("command", "gate-1", "indicate")
    assert run.returncode == 1
    assert f"the command goes on. Look at it with: village command show {COMMAND}" in run.stderr


def test_stop(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/commands", ALL, status=202)
    run = village("broadcast", "stop", "--to", "441900003001")
    assert run.stdout.endswith("2 of 2 loudspeakers are silent\n")
    assert collector.requests[0].document["arguments"] == {"kind": "stop"}


def test_a_door(collector: Collector, village: Village) -> None:
    done = command("done", [result("gate-1", "done", device="lock")], ("gate-1",), "lock")
    collector.answers("POST", "/commands", done, status=202)
    run = village("door", "unlock", "gate-1/lock", "--seconds", "7.5")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "1 of 1 devices done")
    sent = collector.requests[0].document
    assert sent["arguments"] == {"kind": "unlock", "seconds": 7.5}
    assert sent["expires_in"] == 10


def test_a_door_that_refuses(collector: Collector, village: Village) -> None:
    refused = command("done", [result("gate-1", "refused", "locked from inside", "lock")], ("gate-1",), "lock")
    collector.answers("POST", "/commands", refused, status=202)
    run = village("door", "unlock", "gate-1/lock")
    assert run.returncode == 2
    assert "locked from inside" in run.stdout


def test_any_command_with_typed_arguments(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/commands", ALL, status=202)
    run = village("command", "gate-1/reader", "indicate", "colour=red", "seconds=2.5", "buzzer=false", "text=12", "n=3")
    assert run.returncode == 0
    assert collector.requests[0].document["arguments"] == {
        "kind": "indicate",
        "colour": "red",
        "seconds": 2.5,
        "buzzer": False,
        "text": "12",
        "n": 3,
    }
    assert village("command", "send", "gate-1", "stop", "--json").stdout.startswith('{"schema": "village.command/1"')
    assert village("command", "--no-wait", "gate-1", "stop").stdout.startswith("Sent as")


@pytest.mark.parametrize("pair", ["on", "=true", "kind=stop", "a-b=1"])
def test_an_argument_that_is_none(collector: Collector, village: Village, pair: str) -> None:
    run = village("command", "gate-1", "switch", pair)
    assert run.returncode == 2
    assert "Write key=value" in run.stderr
    assert collector.requests == []


@pytest.mark.parametrize("target", ["441900003000-g01", "Gate", "gate-1/", "a/b/c", "000000000000", "-"])
def test_a_target_that_is_none(collector: Collector, village: Village, target: str) -> None:
    run = village("broadcast", "stop", f"--to={target}")
    if target == "-":
        # A single dash is a valid id of an agent.
        assert len(collector.requests) == 1
        return
    assert run.returncode == 2
    assert "names no target" in run.stderr
    assert collector.requests == []
