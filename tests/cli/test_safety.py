from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.canned import (
    AGENTS,
    BROADCASTS,
    COMMAND,
    COMMANDS,
    DEVICES,
    LETTERS,
    ME,
    MIXED,
    ONE_DEVICE,
    ONE_PERSON,
    PERSONS,
    STARTED,
    TAMPER,
    TOKENS,
    broadcast,
    command,
    events,
    history,
    loudspeaker,
    problem,
    result,
)
from tests.cli.collector import Collector, Village
from village_cli.safety import escape_json, safe

#: Clears the screen, sets the title, 8-bit CSI, right-to-left override, rich markup, a second line.
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e[red]\r\n\u2028x"
DANGEROUS = ("\x1b", "\x07", "\x9b", "\u202e", "\r", "\u2028")

TROUBLED = broadcast(
    "over",
    loudspeaker("gate-1", "failed", "failed", reason="why"),
    loudspeaker("gate-2", "unknown", code="agent_offline", reason="offline since noon"),
    problem="no broker",
    withdrawn={"time": "2026-11-24T02:30:30Z", "by": "li", "reason": "a mistake", "sent": True},
)

PAGES: list[tuple[list[str], str, dict[str, Any]]] = [
    (["health"], "/health", MIXED),
    (["health", "--nagios"], "/health", MIXED),
    (["devices"], "/devices", DEVICES),
    (["agents"], "/agents", AGENTS),
    (["person", "list"], "/persons", PERSONS),
    (["person", "show", "li"], "/persons/li", ONE_PERSON),
    (["token", "list"], "/tokens", TOKENS),
    (["whoami"], "/me", ME),
    (["events"], "/events", events(STARTED, TAMPER)),
    (["dead-letters"], "/dead-letters", LETTERS),
    (["device", "show", "gate-1/reader"], "/devices/gate-1/reader", ONE_DEVICE),
    (["command", "list"], "/commands", COMMANDS),
    (["command", "show", COMMAND], f"/commands/{COMMAND}", command("done", [result("gate-1", "failed", "why")])),
    (["broadcast", "list"], "/broadcasts", BROADCASTS),
    (["broadcast", "show", COMMAND], f"/broadcasts/{COMMAND}", TROUBLED),
    (["history", "gate-1/reader", "x"], "/devices/gate-1/reader/history", history([["2026-11-24T00:00:00Z", 1]])),
]


def poisoned(value: Any) -> Any:
    """The same document with every text replaced that a device, an agent or a card could have set."""
    if isinstance(value, dict):
        kept = {"schema", "state", "standing", "stage", "time", "since", "received", "generated"}
        return {key: item if key in kept else poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return f"{value}{EVIL}" if isinstance(value, str) else value


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("words", "path", "document"), PAGES)
def test_text_from_devices_can_not_rule_the_terminal(
    collector: Collector, village: Village, words: list[str], path: str, document: dict[str, Any], as_json: bool
) -> None:
    if as_json and "--nagios" in words:
        pytest.skip("one or the other")
    bad = poisoned(document)
    if path.endswith("history"):
        bad["samples"] = document["samples"]
    collector.answers("GET", path, bad)
    run = village(*words, *(["--json"] if as_json else []))
    assert run.stderr == ""
    assert run.stdout
    assert not any(sign in run.stdout for sign in DANGEROUS)
    if as_json:
        assert json.loads(run.stdout) == bad


def test_nor_can_the_text_of_a_problem(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices", problem(503, EVIL, EVIL, EVIL), status=503)
    for words in (["devices"], ["devices", "--json"], ["--lang", "zh", "devices"]):
        run = village(*words)
        assert run.returncode == 1
        assert not any(sign in run.stderr for sign in DANGEROUS)


@given(st.text())
def test_safe_text_has_no_control_and_keeps_the_rest(text: str) -> None:
    shown = safe(text)
    assert all(unicodedata.category(sign) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for sign in shown)
    assert safe(shown) == shown
    shown.encode()
    if all(unicodedata.category(sign)[0] in "LNPS" for sign in text):
        assert shown == text


def test_safe_text_of_chinese_is_itself() -> None:
    assert safe("村口喇叭（1号）") == "村口喇叭（1号）"
    assert safe("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_escaped_json_means_the_same(value: Any) -> None:
    text = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not any(sign in text for sign in DANGEROUS)
