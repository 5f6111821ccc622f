from __future__ import annotations

import json

import pytest

from tests.cli.blocks import modules, read_blocks
from tests.cli.canned import AGENT_TOKEN, NEW_TOTP
from tests.cli.collector import Collector, Reply, Village
from tests.cli.terminal import Terminal, on_terminal

ENROLMENT = str(AGENT_TOKEN["token"])
WORDS = ("agent", "add", "gate-1", "--area", "441900003001")


@pytest.fixture
def enrolling(collector: Collector) -> Collector:
    collector.answers("POST", "/agents", AGENT_TOKEN, status=201)
    return collector


def line(url: str) -> str:
    return f"village-agent enroll {url} {ENROLMENT}"


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}])
def test_the_line_of_an_enrolment_is_also_a_code(enrolling: Collector, more: dict[str, str]) -> None:
    words = ("agent", "add", "gate-1", "--area", "441900003001", "--url", "https://collector.example.cn:8480/")
    with on_terminal(enrolling.url, *words, more=more) as terminal:
        assert terminal.end() == 0
    expected = line("https://collector.example.cn:8480")
    assert expected in terminal.text
    assert "until 2026-11-25 08:30:00 +08:00" in terminal.text
    assert read_blocks(terminal.text) == modules(expected)
    assert enrolling.requests[0].document == {"agent": "gate-1", "area": "441900003001", "hours": 24}


def test_another_text_is_another_code(enrolling: Collector) -> None:
    with on_terminal(enrolling.url, "agent", "add", "gate-1", "--area", "441900003001") as terminal:
        assert terminal.end() == 0
    assert read_blocks(terminal.text) == modules(line(enrolling.url))
    assert read_blocks(terminal.text) != modules(line(enrolling.url).replace("A.B", "A.C"))
    assert "another box can't reach it" in terminal.text


@pytest.mark.parametrize(
    ("stated", "given", "expected"),
    [
        ("https://collector.example.cn", None, "https://collector.example.cn"),
        ("https://collector.example.cn/", "https://10.0.0.5:8480", "https://10.0.0.5:8480"),
        ("https://127.0.0.1:8480", None, "https://127.0.0.1:8480"),
    ],
)
def test_the_address_is_the_one_that_boxes_reach(
    enrolling: Collector, village: Village, stated: str, given: str | None, expected: str
) -> None:
    enrolling.answers("POST", "/agents", {**AGENT_TOKEN, "url": stated, "replaces": True}, status=201)
    run = village(*WORDS, *(["--url", given] if given else []))
    assert f"  {line(expected)}" in run.stdout.splitlines()
    assert "There is an agent gate-1: its present box is shut out" in run.stderr
    assert ("another box can't reach it" in run.stderr) == ("127.0.0.1" in expected)


def drawn(terminal: Terminal) -> bool:
    return any(sign in terminal.text for sign in "█▀▄")


def test_no_code_where_nobody_looks(enrolling: Collector, village: Village) -> None:
    words = ("agent", "add", "gate-1", "--area", "441900003001", "--hours", "72")
    run = village(*words)
    assert run.returncode == 0
    assert f"  {line(enrolling.url)}" in run.stdout.splitlines()
    assert "█" not in run.stdout
    assert enrolling.requests[0].document["hours"] == 72
    assert json.loads(village(*words, "--json").stdout) == AGENT_TOKEN
    with on_terminal(enrolling.url, *words, "--no-qr") as terminal:
        assert terminal.end() == 0
        assert not drawn(terminal)


def test_a_terminal_that_is_too_narrow_is_told(enrolling: Collector) -> None:
    words = ("agent", "add", "gate-1", "--area", "441900003001")
    with on_terminal(enrolling.url, *words, columns=30) as terminal:
        assert terminal.end() == 0
        assert not drawn(terminal)
        assert "The QR code needs" in terminal.text
        assert ENROLMENT in terminal.text.replace("\n", "")


def test_a_second_factor(collector: Collector) -> None:
    new = NEW_TOTP
    collector.gives("POST", "/me/totp", Reply(json.dumps(new).encode()), Reply(b"", 204))
    with on_terminal(collector.url, "totp", "enable") as terminal:
        terminal.wait_for("Code of your authenticator:")
        assert read_blocks(terminal.text) == modules(NEW_TOTP["uri"])
        assert new["secret"] in terminal.text
        terminal.type("123 456")
        terminal.wait_for("Present password:")
        terminal.type("my password")
        assert terminal.end() == 0
    assert collector.requests[1].document == {"password": "my password", "secret": new["secret"], "code": "123456"}
