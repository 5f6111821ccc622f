from __future__ import annotations

import csv
import io
import json

import pytest

from tests.cli.canned import ONE_DEVICE, TEMPERATURES, history, problem
from tests.cli.collector import Collector, Village

PATH = "/devices/gate-1/reader/history"


def test_a_field_is_plotted_without_a_terminal(collector: Collector, village: Village) -> None:
    collector.answers("GET", PATH, TEMPERATURES)
    run = village("history", "gate-1/reader", "temperature_c")
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert lines[0].strip() == "gate-1/reader sensor.temperature_c"
    # Local time below, the largest value beside, a line of braille in between.
    assert lines[-2].split() == ["08:00", "09:40", "11:20", "13:00"]
    assert lines[2].startswith("25")
    assert any("\u2800" < sign <= "\u28ff" for sign in run.stdout)
    assert lines[-1] == "6 samples, least 20, mean 22.5, most 25, last 25 at 2026-11-24 13:00:00 +08:00"
    assert "\x1b" not in run.stdout


def test_truth_values_are_plotted_between_false_and_true(collector: Collector, village: Village) -> None:
    samples = [[f"2026-11-24T00:00:0{second}Z", second % 2 == 0] for second in range(6)]
    collector.answers("GET", PATH, history(samples, "reader", "online"))
    plot = village("history", "gate-1/reader", "online").stdout
    assert "true┤" in plot
    assert "false┤" in plot


def test_one_sample_and_none(collector: Collector, village: Village) -> None:
    collector.answers("GET", PATH, history([["2026-11-24T00:00:00Z", 5]]), history([]))
    assert "1 samples, least 5" in village("history", "gate-1/reader", "temperature_c").stdout
    run = village("history", "gate-1/reader", "temperature_c", "--since", "2026-11-01", "--until", "2026-11-02")
    assert run.returncode == 0
    assert run.stdout == (
        "No samples of sensor.temperature_c between 2026-11-01 00:00:00 +08:00 and 2026-11-02 00:00:00 +08:00."
        " Try a longer --since.\n"
    )


def test_without_a_field_the_fields_are_listed_and_the_first_numeric_one_is_plotted(
    collector: Collector, village: Village
) -> None:
    collector.answers("GET", "/devices/gate-1/reader", ONE_DEVICE)
    collector.answers("GET", PATH, TEMPERATURES)
    run = village("history", "gate-1/reader", "--since", "2026-11-24", "--until", "2026-11-25", "--limit", "7")
    assert "online" in run.stdout
    assert "gate-1/reader sensor.temperature_c" in run.stdout
    assert collector.requests[1].query == {
        "kind": ["sensor"],
        "field": ["temperature_c"],
        "start": ["2026-11-23T16:00:00Z"],
        "end": ["2026-11-24T16:00:00Z"],
        "limit": ["7"],
    }


def test_a_device_without_readings(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices/gate-1/reader", {**ONE_DEVICE, "readings": []})
    run = village("history", "gate-1/reader")
    assert run.returncode == 1
    assert "gate-1/reader has no readings yet. See its condition with: village device show" in run.stderr


def test_json_is_the_collectors_document(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices/gate-1/reader", ONE_DEVICE)
    collector.answers("GET", PATH, TEMPERATURES)
    wanted = json.dumps(TEMPERATURES, ensure_ascii=False) + "\n"
    assert village("history", "gate-1/reader", "temperature_c", "--json").stdout == wanted
    assert village("history", "gate-1/reader", "--json").stdout == wanted


def test_csv_has_times_in_utc(collector: Collector, village: Village) -> None:
    collector.answers("GET", PATH, history([["2026-11-24T00:00:00.5Z", 1.25], ["2026-11-24T00:00:01Z", True]]))
    run = village("history", "gate-1/reader", "temperature_c", "--csv")
    assert list(csv.reader(io.StringIO(run.stdout))) == [
        ["time", "temperature_c"],
        ["2026-11-24T00:00:00.500000Z", "1.25"],
        ["2026-11-24T00:00:01Z", "true"],
    ]


def test_an_unknown_field_is_told_with_those_that_exist(collector: Collector, village: Village) -> None:
    told = problem(404, "gate-1/reader has no field x; it has: reader.online", "", "")
    collector.answers("GET", PATH, told, status=404)
    run = village("history", "gate-1/reader", "x")
    assert (run.returncode, run.stderr) == (1, "village: gate-1/reader has no field x; it has: reader.online.\n")


@pytest.mark.parametrize(
    "words",
    [
        ["gate-1/reader", "x", "--json", "--csv"],
        ["gate-1/reader", "x", "--since", "1h", "--until", "2h"],
        ["441900003001", "x"],
        ["gate-1/../x", "x"],
        ["gate-1/reader", "x", "--since", "999999999w"],
    ],
)
def test_wrong_use(village: Village, words: list[str]) -> None:
    run = village("history", *words)
    assert run.returncode == 2
    assert run.stderr.startswith(("village: ", '{"schema": "village.problem/1"'))
    assert run.stderr.count("\n") == 1
