from __future__ import annotations

import json

import pytest

from tests.cli.blocks import modules, read_blocks
from tests.cli.collector import Collector, Reply, Village
from tests.cli.terminal import Terminal, on_terminal

ENROLMENT = "ve1.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBB"
ADDED = {
    "schema": "village.agent-token/1",
    "agent": "gate-1",
    "area": "441900003001",
    "token": ENROLMENT,
    "expires": "2026-11-25T00:30:00Z",
}
URI = "otpauth://totp/Village:li?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Village"


@pytest.fixture
def enrolling(collector: Collector) -> Collector:
    collector.answers("POST", "/agents", ADDED, status=201)
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


def drawn(terminal: Terminal) -> bool:
    return any(sign in terminal.text for sign in "█▀▄")


def test_no_code_where_nobody_looks(enrolling: Collector, village: Village) -> None:
    words = ("agent", "add", "gate-1", "--area", "441900003001", "--hours", "72")
    run = village(*words)
    assert run.returncode == 0
    assert f"  {line(enrolling.url)}" in run.stdout.splitlines()
    assert "█" not in run.stdout
    assert enrolling.requests[0].document["hours"] == 72
    assert json.loads(village(*words, "--json").stdout) == ADDED
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
    new = {"schema": "village.totp/1", "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "uri": URI}
    collector.gives("POST", "/me/totp", Reply(json.dumps(new).encode()), Reply(b"", 204))
    with on_terminal(collector.url, "totp", "enable") as terminal:
        terminal.wait_for("Code of your authenticator:")
        assert read_blocks(terminal.text) == modules(URI)
        assert new["secret"] in terminal.text
        terminal.type("123 456")
        terminal.wait_for("Present password:")
        terminal.type("my password")
        assert terminal.end() == 0
    assert collector.requests[1].document == {"password": "my password", "secret": new["secret"], "code": "123456"}
