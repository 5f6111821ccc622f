"""`village broadcast`: what is asked for, what is shown of it, and how it ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.cli.canned import BROADCASTS, COMMAND, broadcast, loudspeaker, problem
from tests.cli.collector import Collector, Reply, Village
from village_cli.broadcast_request import Category, Rank
from village_cli.text import WORDS
from village_cli.uploading import MAX_BYTES
from village_wire import broadcasts as wire

SHOW = f"/broadcasts/{COMMAND}"
WAITING = broadcast("running", loudspeaker("gate-1", "waiting"), loudspeaker("gate-2", "waiting"))
HEARD = loudspeaker("gate-1", "heard", "finished", evidence="3.2 s of sound")
FAILED = loudspeaker("gate-2", "failed", "failed", reason="amplifier off")
LOST = loudspeaker("gate-2", "unknown", code="agent_offline", reason="offline since noon")
SOME = broadcast("done", HEARD, FAILED, revision=5)


def test_each_receipt_is_told_as_it_comes_and_coverage_at_the_end(collector: Collector, village: Village) -> None:
    sounding = broadcast(
        "running", loudspeaker("gate-1", "sounding", "started"), loudspeaker("gate-2", "waiting"), revision=2
    )
    first = broadcast("running", HEARD, loudspeaker("gate-2", "waiting", "queued"), revision=3)
    collector.answers("POST", "/broadcasts", WAITING, status=202)
    collector.answers("GET", SHOW, sounding, first, SOME)
    run = village("broadcast", "say", "下雨了", "--to", "441900003000", "--volume", "80", "--until", "2m")
    lines = run.stdout.splitlines()
    assert lines[:4] == [
        "gate-1/speaker  sounding",
        "gate-1/speaker  heard  3.2 s of sound",
        "gate-2/speaker  queued",
        "gate-2/speaker  failed  amplifier off",
    ]
    assert [line.split() for line in lines[4:7]] == [
        ["AREA", "EXPECTED", "HEARD", "FAILED", "COVERAGE"],
        ["441900003000", "2", "1", "1", "50", "%"],
        ["441900003001", "2", "1", "1", "50", "%"],
    ]
    assert [line.split() for line in lines[7:9]] == [
        ["DEVICE", "NAME", "AREA", "STATE", "REASON"],
        ["gate-2/speaker", "村口", "441900003001", "failed", "amplifier", "off"],
    ]
    assert lines[9:] == ["1 of 2 loudspeakers sounded (50 %); not heard: 1"]
    assert run.returncode == 1
    assert collector.requests[0].document == {
        "targets": [{"area": "441900003000"}],
        "rank": "notice",
        "times": 1,
        "pause": 3.0,
        "chime": True,
        "text": "下雨了",
        "volume": 80.0,
        "expires_in": 120.0,
    }
    assert [request.query["seen"] for request in collector.requests[1:]] == [["1"], ["2"], ["3"]]
    assert all("wait" in request.query for request in collector.requests[1:])


def test_all_that_can_be_asked_for(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/broadcasts", WAITING, status=202)
    words = ("--to", "gate-1/hall", "--to", "gate-2", "--class", "alert", "--title", "雨", "--at", "2036-11-24T18:30")
    more = ("--until", "2036-11-24T19:00", "--times", "3", "--pause", "1m", "--no-chime", "--category", "weather")
    run = village("broadcast", "say", "-", *words, *more, stdin="第一行\n第二行\n")
    # It begins later than in a minute: nobody waits unless asked to.
    assert run.stderr == ""
    assert collector.requests[0].document == {
        "targets": [{"agent": "gate-1", "device": "hall"}, {"agent": "gate-2"}],
        "rank": "alert",
        "title": "雨",
        "text": "第一行\n第二行",
        "start": "2036-11-24T10:30:00Z",
        "end": "2036-11-24T11:00:00Z",
        "times": 3,
        "pause": 60.0,
        "chime": False,
        "category": "weather",
    }


def test_what_begins_later_is_not_waited_for_unless_asked(collector: Collector, village: Village) -> None:
    scheduled = broadcast("scheduled", loudspeaker("gate-1", "waiting"))
    collector.answers("POST", "/broadcasts", scheduled, status=202)
    run = village("broadcast", "say", "x", "--to", "gate-1", "--at", "2h")
    assert run.returncode == 0
    assert run.stdout == f"Sent to 1 loudspeakers as {COMMAND}.\nLook at it with: village broadcast show {COMMAND}\n"
    start = datetime.fromisoformat(collector.requests[0].document["start"])
    assert abs(start - datetime.now(UTC) - timedelta(hours=2)) < timedelta(seconds=20)
    collector.answers("GET", SHOW, broadcast("done", HEARD, revision=2))
    assert village("broadcast", "say", "x", "--to", "gate-1", "--at", "2h", "--wait").returncode == 0
    assert village("broadcast", "say", "x", "--to", "gate-1", "--no-wait").returncode == 0


@pytest.mark.parametrize(
    ("last", "words", "code"),
    [
        (broadcast("done", HEARD, HEARD), (), 0),
        (SOME, (), 1),
        (SOME, ("--coverage", "50"), 0),
        (SOME, ("--coverage", "50.1"), 1),
        (broadcast("over", FAILED, LOST), (), 2),
        (broadcast("over", FAILED, LOST), ("--coverage", "0"), 0),
        (broadcast("running", HEARD, LOST), (), 3),
        (broadcast("running", HEARD, LOST), ("--coverage", "50"), 0),
        (broadcast("scheduled", loudspeaker("gate-1", "waiting")), (), 3),
        (broadcast("done"), (), 2),
    ],
)
def test_the_exit_code_is_the_coverage(
    collector: Collector, village: Village, last: dict[str, Any], words: tuple[str, ...], code: int
) -> None:
    collector.answers("GET", SHOW, last)
    assert village("broadcast", "show", COMMAND, *words).returncode == code
    run = village("broadcast", "show", COMMAND, "--json", *words)
    assert run.returncode == code
    assert run.stdout == json.dumps(last, ensure_ascii=False) + "\n"


def test_who_did_not_hear_it_and_why_in_both_languages(collector: Collector, village: Village) -> None:
    never = loudspeaker("gate-3", "unknown", code="no_receipt", reason="connected, but sent no receipt")
    late = loudspeaker("gate-4", "failed", "skipped", reason="expired")
    collector.answers("GET", SHOW, broadcast("over", HEARD, LOST, never, late))
    english = village("broadcast", "show", COMMAND).stdout
    assert "the box is not connected (offline since noon)" in english
    assert "no receipt came (connected, but sent no receipt)" in english
    assert "its time was over" in english
    chinese = village("--lang", "zh", "broadcast", "show", COMMAND).stdout
    assert "设备离线 (自 noon 起离线)" in chinese
    assert "已跳过" in chinese
    assert chinese.endswith("4 个扬声器中有 1 个已播放 (25 %)；未播放: 1；未知: 2\n")


def test_what_stands_in_the_way_is_said_first(collector: Collector, village: Village) -> None:
    withdrawn = {"time": "2026-11-24T02:30:30Z", "by": "li", "reason": "a mistake", "sent": True}
    cancelled = loudspeaker("gate-1", "failed", "cancelled", reason="a mistake")
    document = broadcast("done", cancelled, problem="the broker is away", withdrawn=withdrawn)
    collector.answers("POST", f"{SHOW}/withdraw", document)
    run = village("broadcast", "withdraw", COMMAND, "--reason", "a mistake")
    assert run.returncode == 0
    assert run.stdout.splitlines()[:2] == [
        "The collector could not send it: the broker is away",
        "Withdrawn by li at 2026-11-24 10:30:30 +08:00: a mistake",
    ]
    assert collector.requests[0].document == {"reason": "a mistake"}


def test_the_list(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/broadcasts", BROADCASTS)
    line = village("broadcast", "list").stdout.splitlines()[1]
    assert line.split()[3:] == ["li", "notice", "下雨了", "441900003000", "over", "3/4", "(75", "%)", COMMAND]
    assert json.loads(village("broadcast", "list", "--json").stdout) == BROADCASTS


@pytest.mark.parametrize("text", ["", " ", "x" * 2001])
def test_a_text_that_no_collector_takes_is_not_sent(collector: Collector, village: Village, text: str) -> None:
    run = village("broadcast", "say", "-", "--to", "gate-1", stdin=text)
    assert run.returncode == 2
    assert "1 to 2000 characters" in run.stderr
    assert collector.requests == []


@pytest.mark.parametrize(
    "words", [("--at", "25:00"), ("--at", "soon"), ("--until", "soon"), ("--pause", "3"), ("--to", "a/b/c")]
)
def test_what_is_no_time_or_target_is_not_sent(collector: Collector, village: Village, words: tuple[str, ...]) -> None:
    run = village("broadcast", "say", "x", "--to", "gate-1", *words)
    assert run.returncode == 2
    assert collector.requests == []


def test_a_broadcast_that_the_collector_refuses_reaches_nobody(collector: Collector, village: Village) -> None:
    told = problem(409, "area 441900003001 has no loudspeaker", "Choose another.", "请另选。")
    collector.answers("POST", "/broadcasts", told, status=409)
    run = village("broadcast", "say", "x", "--to", "441900003001")
    assert (run.returncode, run.stderr) == (2, "village: area 441900003001 has no loudspeaker. Choose another.\n")


def test_a_collector_that_is_busy_for_a_moment_is_asked_again(collector: Collector, village: Village) -> None:
    busy = json.dumps(problem(503, "50 requests wait already", "", "")).encode()
    collector.answers("POST", "/broadcasts", WAITING, status=202)
    collector.gives("GET", SHOW, Reply(busy, 503, "application/problem+json"), Reply(json.dumps(SOME).encode()))
    run = village("broadcast", "say", "x", "--to", "gate-1")
    assert (run.returncode, run.stderr) == (1, "")


def test_a_lost_answer_tells_how_to_look_later(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/broadcasts", WAITING, status=202)
    collector.answers("GET", SHOW, problem(404, "no broadcast", "", ""), status=404)
    run = village("broadcast", "say", "x", "--to", "gate-1")
    assert run.returncode == 1
    assert f"the broadcast goes on. Look at it with: village broadcast show {COMMAND}" in run.stderr


def test_the_words_are_those_of_the_wire() -> None:
    assert get_args(Rank) == wire.CLASSES
    assert get_args(Category) == wire.CATEGORIES
    assert MAX_BYTES == wire.MAX_AUDIO_BYTES
    assert {f"class_{rank}" for rank in wire.CLASSES} <= WORDS.keys()
    assert {f"stage_{stage}" for stage in get_args(wire.Stage)} <= WORDS.keys()


@pytest.mark.parametrize(
    ("words", "english", "chinese"),
    [
        (("--at", "2026-11-24T08:00:00+08:00"), "+08:00 has passed. Leave --at out", "已过"),
        (
            ("--until", "2026-11-24T08:00:00+08:00"),
            "+08:00, before it begins. Give --until a later time",
            "早于开始时间",
        ),
        (
            ("--at", "2100-01-02T08:00:00+08:00", "--until", "2100-01-01T08:00:00+08:00"),
            "It would end at 2100-01-01 08:00:00 +08:00, before it begins",
            "2100-01-01 08:00:00 +08:00 早于开始时间",
        ),
    ],
)
def test_what_can_not_be_heard_at_that_time_is_said_before_a_file_is_sent(
    collector: Collector, village: Village, tmp_path: Path, words: tuple[str, ...], english: str, chinese: str
) -> None:
    file = tmp_path / "song.wav"
    file.write_bytes(b"RIFF")
    call = ("broadcast", "play", str(file), "--to", "gate-1", *words)
    run = village(*call)
    assert (run.returncode, english in run.stderr) == (2, True), run.stderr
    assert chinese in village("--lang", "zh", *call).stderr
    assert not collector.requests


def test_a_track_of_the_card_is_asked_for(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/broadcasts", WAITING, status=202)
    words = ("--to", "gate-1/horn", "--category", "fire", "--no-wait")
    assert village("broadcast", "track", "2/015", *words).returncode == 0
    assert village("broadcast", "track", "3", *words).returncode == 0
    documents = [request.document for request in collector.requests]
    assert [one["track"] for one in documents] == [{"folder": 2, "number": 15}, {"folder": 0, "number": 3}]
    assert documents[0] == {
        "targets": [{"agent": "gate-1", "device": "horn"}],
        "rank": "notice",
        "times": 1,
        "pause": 3.0,
        "chime": True,
        "track": {"folder": 2, "number": 15},
        "category": "fire",
        "expires_in": 60.0,
    }


@pytest.mark.parametrize(
    "wrong", ["", "0", "x", "2/", "/3", "100/1", "2/0", "10000", "1/2/3", "-1", "2\uff0f15", "\u0663"]
)
def test_what_is_no_track_is_said_before_anything_is_sent(village: Village, wrong: str) -> None:
    english = village("broadcast", "track", "--to", "gate-1", "--", wrong)
    assert english.returncode == 2
    assert f"{wrong} is no track." in english.stderr
    assert "folder and number, 2/15" in english.stderr
    assert "不是曲目编号" in village("--lang", "zh", "broadcast", "track", "--to", "gate-1", "--", wrong).stderr


@pytest.mark.parametrize(
    ("content", "english", "chinese"),
    [
        ({"track": {"folder": 2, "number": 15}}, "notice  (track 2/15 of the card)", "通知  （存储卡曲目 2/15）"),
        (
            {"track": {"folder": 0, "number": 3}, "title": "火"},
            "notice  火  (track 3 of the card)",
            "通知  火  （存储卡",
        ),
        ({"text": "下雨了"}, "notice  下雨了", "通知  下雨了"),
        ({"audio": {"sha256": "0" * 64}}, "notice  (sound file)", "通知  （音频文件）"),
        ({"live": {"stream": COMMAND}}, "notice  (live voice)", "通知  （实时喊话）"),
    ],
)
def test_what_was_issued_is_shown_with_its_coverage(
    collector: Collector, village: Village, content: dict[str, Any], english: str, chinese: str
) -> None:
    shown = broadcast("done", HEARD, content={"rank": "notice", "times": 1} | content)
    collector.answers("GET", SHOW, shown)
    first = village("broadcast", "show", COMMAND).stdout.splitlines()[0]
    assert first.endswith(f"  li  {english}")
    assert f"  li  {chinese}" in village("--lang", "zh", "broadcast", "show", COMMAND).stdout.splitlines()[0]


def test_a_loudspeaker_that_can_t_is_told_in_both_languages(collector: Collector, village: Village) -> None:
    speech = loudspeaker("gate-1", "failed", "failed", reason="this loudspeaker plays only the tracks of its own card")
    killed = loudspeaker("gate-2", "failed", "refused", reason="unknown outcome: the agent restarted while executing")
    collector.answers("GET", SHOW, broadcast("done", speech, killed))
    english = village("broadcast", "show", COMMAND).stdout
    assert "it plays only tracks of its own card" in english
    assert "not carried out" in english
    assert "unknown outcome: the agent restarted while executing" in english
    chinese = village("--lang", "zh", "broadcast", "show", COMMAND).stdout
    assert "该扬声器只能播放存储卡曲目" in chinese
    assert "结果未知：执行时代理重启" in chinese


def test_why_a_broadcast_was_not_heard_is_told_in_chinese(collector: Collector, village: Village) -> None:
    silent = loudspeaker(
        "gate-1", "failed", "failed", reason="amplifier drew 0.05 A, 0.05 A idle: it was silent or without power"
    )
    offline = loudspeaker("gate-2", "unknown", reason="offline since noon", code="agent_offline")
    heard = loudspeaker("gate-3", "heard", "finished", evidence="chip accepted 2 frames, busy 4.2 s, then idle")
    shown = broadcast("done", silent, offline, heard, voice={"seconds": 3.0, "reason": "the link to the speaker broke"})
    collector.answers("GET", SHOW, shown)
    chinese = village("--lang", "zh", "broadcast", "show", COMMAND).stdout
    assert "功放电流 0.05 A，静态 0.05 A：没有声音或没有供电" in chinese
    assert "设备离线 (自 noon 起离线)" in chinese
    assert "喊话在 3 秒后结束：与讲话者的连接中断" in chinese
    waited = village("--lang", "zh", "broadcast", "show", "--wait", COMMAND).stdout
    assert "gate-3/speaker  已播放  语音芯片接受了 2 帧，忙 4.2 秒后空闲" in waited
