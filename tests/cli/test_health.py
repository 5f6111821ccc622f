from __future__ import annotations

import json

import pytest

from tests.cli.canned import ADVICE_NO_ANSWER, AGENT, MIXED, WELL, health, problem, row
from tests.cli.collector import Collector, Village


def test_a_table_tells_which_device_is_unwell_since_when_why_and_what_to_do(
    collector: Collector, village: Village
) -> None:
    collector.answers("GET", "/health", MIXED)
    run = village("health")
    lines = run.stdout.splitlines()
    assert lines[0].split() == ["DEVICE", "NAME", "STATUS", "SINCE", "EVIDENCE", "WHAT", "TO", "DO"]
    assert lines[1].startswith("gate-1/speaker ")
    assert "2026-11-24 08:30:00 +08:00 (2 h 5 min)" in lines[1]
    assert "no answer for 30 s" in lines[1]
    assert ADVICE_NO_ANSWER["en"] in lines[1]
    assert [line.split()[0] for line in lines[2:5]] == ["gate-1/reader", "gate-2/camera", "gate-1"]
    assert lines[-1] == "4 devices: 1 down, 1 degraded, 1 unknown, 1 ok"
    assert "\x1b" not in run.stdout


def test_columns_are_aligned_by_the_width_of_chinese_signs(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/health", MIXED)
    lines = village("health").stdout.splitlines()
    named = next(line for line in lines if "村口读卡器" in line)
    other = next(line for line in lines if line.startswith("gate-2/camera"))
    # Five signs of double width.
    assert other.index("unknown") == named.index("degraded") + 5


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["ok", "ok"], 0),
        (["ok", "degraded"], 1),
        (["degraded", "down", "unknown"], 2),
        (["degraded", "unknown"], 1),
        (["ok", "unknown"], 3),
        (["ok", "of a later version"], 3),
        ([], 3),
    ],
)
def test_the_exit_code_is_that_of_a_nagios_plugin(
    collector: Collector, village: Village, statuses: list[str], code: int
) -> None:
    collector.answers("GET", "/health", health(*(row("a", f"d{i}", status) for i, status in enumerate(statuses))))
    assert village("health").returncode == code


@pytest.mark.parametrize(
    ("buffer", "told"),
    [
        (AGENT["buffer"], "(outbox full); buffer for 41.3 h, 312 waiting since 2026-11-24 08:30:00 +08:00"),
        ({**AGENT["buffer"], "hours": 1500.0, "waiting": 0}, "(outbox full); buffer for 62 days  "),
        ({"hours": None, "waiting": 7}, "(outbox full); 7 waiting  "),
        (None, "(outbox full)  "),
    ],
)
def test_an_agents_row_tells_how_long_its_buffer_lasts_and_what_waits(
    collector: Collector, village: Village, buffer: dict[str, object] | None, told: str
) -> None:
    collector.answers("GET", "/health", health({**AGENT, "buffer": buffer}))
    run = village("health")
    assert told in run.stdout.splitlines()[1]
    assert run.returncode == 1


def test_an_unwell_collector_is_shown_and_counts(collector: Collector, village: Village) -> None:
    own = {
        "status": "down",
        "code": "collector_lost",
        "evidence": "broker away",
        "advice": {"en": "Look.", "zh": "看。"},
    }
    collector.answers("GET", "/health", health(row("gate-1", "reader"), collector=own))
    run = village("health")
    assert run.returncode == 2
    assert run.stdout.splitlines()[1].split()[:2] == ["collector", "down"]
    assert "broker away" in run.stdout
    line = village("health", "--nagios").stdout
    assert line.startswith("VILLAGE CRITICAL - 1 ok (collector: broker away) | ok=1;;;0")


def test_nagios_gets_one_line_with_performance_data(collector: Collector, village: Village) -> None:
    collector.answers(
        "GET", "/health", health(*(row("a", f"d{i}") for i in range(12)), row("b", "x", "degraded", evidence="a|b\nc"))
    )
    run = village("health", "--nagios")
    assert run.returncode == 1
    assert run.stdout == (
        "VILLAGE WARNING - 1 degraded, 12 ok (b/x: a/b\\nc) | ok=12;;;0 unknown=0;;;0 degraded=1;;;0 down=0;;;0\n"
    )


def test_filters_are_the_collectors(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/health", health())
    run = village("health", "--area", "441900003000", "--agent", "gate-1", "--status", "down", "--status", "unknown")
    assert collector.requests[0].query == {
        "area": ["441900003000"],
        "agent": ["gate-1"],
        "status": ["down", "unknown"],
    }
    # Nobody is down: that is good news.
    assert run.returncode == 0
    assert "No device has this status." in run.stdout


def test_json_is_the_collectors_document(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/health", MIXED)
    run = village("health", "--json")
    assert run.stdout == json.dumps(MIXED, ensure_ascii=False) + "\n"
    assert run.returncode == 2


def test_in_chinese(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/health", MIXED)
    run = village("--lang", "zh", "health")
    assert run.stdout.splitlines()[0].split() == ["设备", "名称", "状态", "起始时间", "依据", "处理方法"]
    assert "（" not in run.stdout.splitlines()[1]
    assert "(2 小时 5 分)" in run.stdout
    assert ADVICE_NO_ANSWER["zh"] in run.stdout
    assert run.stdout.splitlines()[-1] == "共 4 台设备：1 故障，1 降级，1 未知，1 正常"


def test_why_a_device_is_down_is_told_in_chinese(collector: Collector, village: Village) -> None:
    line = row("gate-1", "speaker", "down", evidence="/dev/ttyUSB0: unit 3 does not answer")
    offline = row("gate-2", "", "down", evidence="offline since 2026-11-24T02:00:00.000000Z")
    collector.answers("GET", "/health", health(line, offline))
    table = village("--lang", "zh", "health").stdout
    assert "/dev/ttyUSB0：从站 3 无应答" in table
    assert "自 2026-11-24 10:00:00 +08:00 起离线" in table
    assert "gate-1/speaker: /dev/ttyUSB0：从站 3 无应答" in village("--lang", "zh", "health", "--nagios").stdout
    assert "unit 3 does not answer" in village("health").stdout
    assert "unit 3 does not answer" in village("--lang", "zh", "health", "--json").stdout


@pytest.mark.parametrize("name", ["VILLAGE_LANG", "LC_ALL", "LANG"])
def test_the_language_of_the_environment(collector: Collector, village: Village, name: str) -> None:
    collector.answers("GET", "/health", WELL)
    more = {"LC_ALL": "", "PYTHONUTF8": "1", name: "zh_CN.UTF-8"}
    assert "正常" in village("health", more=more).stdout


def test_a_collector_that_refuses_is_unknown(collector: Collector, village: Village) -> None:
    collector.answers(
        "GET", "/health", problem(503, "the store is away", "Check the disk.", "请检查磁盘。"), status=503
    )
    run = village("health")
    assert (run.returncode, run.stderr) == (3, "village: the store is away. Check the disk.\n")
    run = village("--lang", "zh", "health", "--nagios")
    assert (run.returncode, run.stdout) == (3, "VILLAGE UNKNOWN - the store is away。 请检查磁盘。\n")
    run = village("health", "--json")
    assert run.stdout == ""
    assert json.loads(run.stderr) == {
        "schema": "village.problem/1",
        "type": "about:blank",
        "title": "The collector refused",
        "status": 503,
        "detail": "the store is away.",
        "advice": {"en": "Check the disk.", "zh": "请检查磁盘。"},
    }


@pytest.mark.parametrize("words", [["--status", "bad"], ["--nonsense"], ["--watch", "--json"]])
def test_wrong_use_is_unknown_to_nagios(village: Village, words: list[str]) -> None:
    assert village("health", *words).returncode == 3
