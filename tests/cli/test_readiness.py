"""Waiting for loudspeakers before somebody speaks: whom, how long, and what is said about it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cli.canned import COMMAND, broadcast, loudspeaker
from tests.cli.collector import Collector, Village
from tests.cli.terminal import on_terminal
from tests.collector.broadcasts.sounds import tone
from tests.peers import peer
from village_cli.broadcast_watch import View
from village_cli.readiness import Readiness

SHOW = f"/broadcasts/{COMMAND}"
VOICE = f"/live/{COMMAND}/voice"
READY = loudspeaker("gate-1", "waiting", "ready", evidence="2.1 s after it was told")
QUEUED = loudspeaker("gate-2", "waiting", "queued")
OFFLINE = loudspeaker("lin", "unknown", code="agent_offline", reason="offline since noon")
DOUBTFUL = loudspeaker("hall", "waiting", "ready", reason="amplifier horn can't be switched on")


@pytest.mark.parametrize(
    ("rows", "coming", "line"),
    [
        ((READY, READY), 0, "2 of 2 ready."),
        (
            (READY, QUEUED, OFFLINE),
            1,
            "1 of 3 ready; not ready: lin/speaker (the box is not connected (offline since noon)), gate-2/speaker (queued)",
        ),
        ((DOUBTFUL,), 0, "0 of 1 ready; not ready: hall/speaker (amplifier horn can't be switched on)"),
        (
            (
                loudspeaker("gate-3", "waiting"),
                loudspeaker("gate-4", "failed", "failed", reason="it plays no live voice"),
            ),
            1,
            "0 of 2 ready; not ready: gate-4/speaker (it plays no live voice), gate-3/speaker (waiting)",
        ),
        ((loudspeaker("gate-5", "sounding", "started"),), 0, "1 of 1 ready."),
        ((OFFLINE,) * 8, 0, "offline since noon)), 3 more"),
    ],
)
def test_who_is_waited_for_and_what_is_said_of_the_others(
    rows: tuple[dict[str, object], ...], coming: int, line: str
) -> None:
    found = Readiness.of(View(broadcast("running", *rows)))
    assert len(found.coming) == coming
    assert found.line("en").endswith(line)
    assert found.line("zh")


def test_nobody_is_waited_for_in_what_is_over() -> None:
    assert Readiness.of(View(broadcast("over", QUEUED))).coming == ()


@pytest.fixture
def words(collector: Collector, tmp_path: Path) -> tuple[str, ...]:
    """A place where somebody announces a short voice."""
    peer("ffmpeg")
    speech = tone(tmp_path / "speech.wav", 0.2)
    announced = {"schema": "village.live/1", "id": COMMAND, "begin_within": 20.0}
    collector.answers("POST", "/live", announced, status=202)
    spoken = {"schema": "village.spoken/1", "id": COMMAND, "seconds": 0.0, "packets": 1, "unsent": 0, "reason": ""}
    collector.answers("POST", VOICE, spoken)
    collector.answers("POST", f"{SHOW}/withdraw", broadcast("over", QUEUED))
    return ("broadcast", "live", "--to", "441900003001", "--from", str(speech), "--no-wait")


def test_it_begins_when_the_last_one_is_ready(collector: Collector, village: Village, words: tuple[str, ...]) -> None:
    first, second = broadcast("running", READY, QUEUED), broadcast("running", READY, READY, revision=2)
    collector.answers("GET", SHOW, first, first, second)
    run = village(*words)
    assert "The loudspeakers make ready.\n2 of 2 ready.\nSpeak now" in run.stderr
    polls = [request.query for request in collector.requests if request.path == SHOW]
    assert [poll.get("seen") for poll in polls[:3]] == [None, ["1"], ["1"]]


def test_it_begins_at_once_when_all_that_are_connected_are_ready(
    collector: Collector, village: Village, words: tuple[str, ...]
) -> None:
    collector.answers("GET", SHOW, broadcast("running", READY, OFFLINE, DOUBTFUL))
    run = village(*words)
    assert "1 of 3 ready; not ready: lin/speaker" in run.stderr
    assert not any("wait" in request.query for request in collector.requests)


def test_it_begins_without_those_who_take_too_long(
    collector: Collector, village: Village, words: tuple[str, ...]
) -> None:
    collector.answers("GET", SHOW, broadcast("running", READY, QUEUED))
    begun = time.monotonic()
    run = village(*words, "--ready-within", "2s")
    assert time.monotonic() - begun > 2
    assert "1 of 2 ready; not ready: gate-2/speaker (queued)\nSpeak now" in run.stderr


def test_it_begins_at_once_if_told_so(collector: Collector, village: Village, words: tuple[str, ...]) -> None:
    collector.answers("GET", SHOW, broadcast("running", QUEUED))
    run = village(*words, "--now")
    assert "ready" not in run.stderr
    assert "Speak now" in run.stderr
    # At most to show how it ended.
    assert collector.asked().count(f"GET {SHOW}") <= 1


def test_enter_begins_at_once(collector: Collector, words: tuple[str, ...]) -> None:
    collector.answers("GET", SHOW, broadcast("running", READY, QUEUED))
    with on_terminal(collector.url, *words, "--ready-within", "15s") as terminal:
        terminal.wait_for("press Enter to speak at once")
        begun = time.monotonic()
        terminal.type("")
        terminal.wait_for("Speak now")
        assert time.monotonic() - begun < 5
        assert "1 of 2 ready; not ready: gate-2/speaker (queued)" in terminal.text
