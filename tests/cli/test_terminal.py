from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.cli.canned import (
    COMMAND,
    DENIED,
    MIXED,
    PRESSED,
    STARTED,
    TAMPER,
    TEMPERATURES,
    WELL,
    broadcast,
    command,
    events,
    health,
    loudspeaker,
    problem,
    result,
    row,
)
from tests.cli.collector import PROGRAM, ROOT, Collector, Reply, Village, environment
from tests.cli.terminal import on_terminal
from tests.cli.test_safety import EVIL, poisoned

GREEN, YELLOW, RED = "\x1b[32m", "\x1b[33m", "\x1b[1;31m"


def test_statuses_have_colours(collector: Collector) -> None:
    collector.answers("GET", "/health", MIXED)
    with on_terminal(collector.url, "health") as terminal:
        assert terminal.end() == 2
    assert f"{GREEN}ok" in terminal.output
    assert f"{YELLOW}degraded" in terminal.output
    assert f"{RED}down" in terminal.output
    assert "4 devices: 1 down, 1 degraded, 1 unknown, 1 ok" in terminal.text


def test_no_colour_where_none_is_wanted(collector: Collector) -> None:
    collector.answers("GET", "/health", MIXED)
    with on_terminal(collector.url, "health", more={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 2
    assert "\x1b[3" not in terminal.output


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 120])
def test_a_narrow_terminal_loses_no_word(collector: Collector, columns: int) -> None:
    collector.answers("GET", "/health", MIXED)
    with on_terminal(collector.url, "health", columns=columns) as terminal:
        assert terminal.end() == 2
    shown = terminal.text.replace("\n", " ")
    for device in MIXED["devices"]:
        for text in (
            *(str(device[key]) for key in ("agent", "device", "name", "status", "evidence")),
            device["advice"]["en"],
        ):
            for word in text.split():
                assert word in shown, word
    # All but the summary, which any terminal may break.
    assert max(len(line) for line in terminal.text.splitlines()[:-1]) <= columns


def test_text_from_devices_can_not_rule_the_terminal(collector: Collector) -> None:
    collector.answers("GET", "/health", poisoned(MIXED))
    with on_terminal(collector.url, "health", columns=200) as terminal:
        terminal.end()
    assert "\x1b[2J" not in terminal.output
    assert "\x1b]0;" not in terminal.output
    assert "\u202e" not in terminal.output
    assert "[red]" in terminal.text
    assert EVIL not in terminal.output


def test_the_well_ones_do_not_push_the_unwell_off_the_screen(collector: Collector) -> None:
    rows = [row("gate-1", f"d{number}", "down" if number < 3 else "ok") for number in range(500)]
    collector.answers("GET", "/health", health(*rows))
    with on_terminal(collector.url, "health") as terminal:
        assert terminal.end() == 2
    lines = terminal.text.splitlines()
    assert sum("gate-1/d" in line for line in lines) == 100
    assert lines[-2:] == ["400 rows more; see all with --status or | less", "500 devices: 3 down, 497 ok"]
    with on_terminal(collector.url, "health", "--status", "ok", "--status", "down") as terminal:
        assert terminal.end() == 2
    assert sum("gate-1/d" in line for line in terminal.text.splitlines()) == 500


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_refreshes_until_it_is_ended_and_exits_with_the_last_code(
    collector: Collector, number: signal.Signals
) -> None:
    collector.answers("GET", "/health", WELL, MIXED)
    with on_terminal(collector.url, "health", "--watch", "--every", "0.2") as terminal:
        terminal.wait_for("2 devices: 2 ok")
        terminal.wait_for("4 devices: 1 down")
        assert terminal.interrupt(number) == 2
    assert "Traceback" not in terminal.text
    # The cursor is shown again.
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_watching_tells_that_the_collector_went_away(collector: Collector) -> None:
    collector.answers("GET", "/health", WELL)
    with on_terminal(collector.url, "health", "--watch", "--every", "0.2") as terminal:
        terminal.wait_for("2 devices: 2 ok")
        collector.gives("GET", "/health", Reply(b"away", 502, "text/plain"))
        terminal.wait_for("Connection lost, trying again")
        assert terminal.interrupt() == 3


def test_watching_ends_with_the_session(collector: Collector) -> None:
    collector.answers("GET", "/health", WELL)
    with on_terminal(collector.url, "health", "--watch", "--every", "0.2") as terminal:
        terminal.wait_for("2 devices: 2 ok")
        collector.answers("GET", "/health", problem(401, "nobody is logged in", "x", "x"), status=401)
        assert terminal.end() == 3
        assert f"Log in with `village login --url {collector.url}`" in terminal.text
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_watching_without_a_terminal(collector: Collector) -> None:
    collector.answers("GET", "/health", WELL)
    words = [*PROGRAM, "health", "--watch", "--every", "0.2"]
    with subprocess.Popen(
        words, env=environment(collector.url), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = 0
        while found < 2:
            line = process.stdout.readline()
            assert line
            found += line == "2 devices: 2 ok\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""


def test_following_shows_each_event_once_in_order(collector: Collector) -> None:
    collector.answers(
        "GET",
        "/events",
        events(DENIED, cursor=DENIED["id"]),
        events(cursor=DENIED["id"]),
        events(TAMPER, STARTED, cursor=STARTED["id"]),
        events(PRESSED, cursor=PRESSED["id"]),
        events(cursor=PRESSED["id"]),
    )
    with on_terminal(collector.url, "events", "--agent", "gate-1", "--follow") as terminal:
        terminal.wait_for("button pressed")
        assert terminal.interrupt() == 130
    kinds = ("door access", "alarm", "agent started", "button pressed")
    assert [terminal.text.count(kind) for kind in kinds] == [1, 1, 1, 1]
    assert sorted(kinds, key=terminal.text.index) == list(kinds)
    assert "Traceback" not in terminal.text
    assert [request.query.get("after") for request in collector.requests[:4]] == [
        None,
        [DENIED["id"]],
        [DENIED["id"]],
        [STARTED["id"]],
    ]
    assert collector.requests[3].query["agent"] == ["gate-1"]


def test_following_from_nothing_as_json(collector: Collector) -> None:
    documents = [events(), events(), events(STARTED, cursor=STARTED["id"]), events(cursor=STARTED["id"])]
    collector.answers("GET", "/events", *documents)
    with subprocess.Popen(
        [*PROGRAM, "events", "--follow", "--json"],
        env=environment(collector.url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline()) for _ in range(2)] == [documents[0], documents[2]]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


def test_a_command_shows_its_progress(collector: Collector) -> None:
    collector.answers("POST", "/commands", command("waiting", []), status=202)
    collector.answers(
        "GET",
        f"/commands/{COMMAND}",
        command("waiting", [result("gate-1", "done")]),
        command("done", [result("gate-1", "done"), result("gate-2", "failed", "amplifier off")]),
    )
    with on_terminal(collector.url, "command", "441900003001", "indicate") as terminal:
        assert terminal.end() == 1
    assert "gate-1/speaker  done  3.2 s of sound" in terminal.text
    assert "0/2" in terminal.text or "1/2" in terminal.text
    assert "1 of 2 devices done; missing: gate-2/speaker (amplifier off)" in terminal.text


def test_a_broadcast_shows_its_coverage_while_it_runs(collector: Collector) -> None:
    place = f"/broadcasts/{COMMAND}"
    waiting = broadcast("running", loudspeaker("gate-1", "waiting"), loudspeaker("gate-2", "waiting"))
    sounding = broadcast(
        "running", loudspeaker("gate-1", "sounding", "started"), loudspeaker("gate-2", "waiting"), revision=2
    )
    lost = loudspeaker("gate-2", "unknown", code="agent_offline", reason="offline since noon")
    collector.answers("POST", "/broadcasts", waiting, status=202)
    collector.answers("GET", place, sounding, broadcast("over", loudspeaker("gate-1", "heard"), lost, revision=3))
    with on_terminal(collector.url, "broadcast", "say", "x", "--to", "441900003000", columns=120) as terminal:
        assert terminal.end() == 1
    # Drawn while it runs, and drawn over afterwards.
    assert "0 of 2 loudspeakers sounded (0 %); sounding: 1; waiting: 1; not over yet" in terminal.text
    assert "1 of 2 loudspeakers sounded (50 %); not known: 1" in terminal.text
    assert "the box is not connected (offline since noon)" in terminal.text


def test_ctrl_c_while_waiting_tells_that_the_broadcast_goes_on(collector: Collector) -> None:
    running = broadcast("running", loudspeaker("gate-1", "sounding", "started"))
    collector.answers("POST", "/broadcasts", running, status=202)
    collector.answers("GET", f"/broadcasts/{COMMAND}", running)
    with on_terminal(collector.url, "broadcast", "say", "x", "--to", "441900003001", columns=120) as terminal:
        terminal.wait_for("not over yet")
        assert terminal.interrupt() == 130
    assert f"village broadcast show {COMMAND}" in terminal.text
    assert "Traceback" not in terminal.text
    assert "Aborted" not in terminal.text


def test_a_plot_fills_the_terminal(collector: Collector) -> None:
    collector.answers("GET", "/devices/gate-1/reader/history", TEMPERATURES)
    with on_terminal(collector.url, "history", "gate-1/reader", "temperature_c", columns=90) as terminal:
        assert terminal.end() == 0
    assert max(len(line) for line in terminal.text.splitlines()) == 89


def test_a_problem_on_a_terminal(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices", problem(503, "away", "", ""), status=503)
    with on_terminal(village.url, "devices") as terminal:
        assert terminal.end() == 1
    assert terminal.text == "village: away.\n"
