from __future__ import annotations

import json

import pytest

from tests.cli.canned import API_TOKEN, NEW_PERSON, NEW_TOKEN, ONE_PERSON, PERSONS, TOKENS, problem
from tests.cli.collector import Collector, Reply, Village
from tests.cli.terminal import on_terminal
from village_cli.grants import Role
from village_collector.people.rights import ROLES

ROW = API_TOKEN["id"]


def test_the_roles_are_the_collectors() -> None:
    assert [role.value for role in Role] == list(ROLES)


def test_people(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/persons", PERSONS)
    lines = village("person", "list").stdout.splitlines()
    assert lines[0].split() == ["PERSON", "ROLES", "STATE", "PASSWORD", "SECOND", "FACTOR", "CREATED"]
    assert lines[1].startswith("li")
    assert "broadcaster 441900003001, viewer everywhere" in lines[1]
    assert lines[2].startswith("王芳")
    assert "disabled" in lines[2]
    assert "停用" in village("--lang", "zh", "person", "list").stdout


@pytest.mark.parametrize(("area", "sent"), [("441900003001", "441900003001"), ("all", "")])
def test_a_person_is_added_with_a_role_in_an_area(collector: Collector, village: Village, area: str, sent: str) -> None:
    collector.answers("POST", "/persons", NEW_PERSON, status=201)
    run = village("person", "add", "li", "--role", "broadcaster", "--area", area)
    assert (run.returncode, run.stderr) == (0, "")
    assert collector.requests[0].document == {"person": "li", "grants": [{"role": "broadcaster", "area": sent}]}
    assert run.stdout.splitlines()[-1] == (
        "Initial password, shown once, valid until 2026-12-01 08:30:00 +08:00: k7m2q-abcde-fghjk-mnpqr"
    )
    assert json.loads(village("person", "add", "li", "--role", "viewer", "--area", area, "--json").stdout) == NEW_PERSON


@pytest.mark.parametrize(
    "words",
    [
        ["person", "add", "li", "--role", "broadcaster"],
        ["person", "add", "li", "--area", "all"],
        ["person", "add", "li", "--role", "king", "--area", "all"],
        ["person", "add", "li", "--role", "viewer", "--area", "4419"],
        ["person", "add", "li", "--role", "viewer", "--area", ""],
        ["person", "grant", "li", "--role", "viewer", "--area", "everywhere"],
        ["token", "make", "x", "--area", "441900003001"],
        ["token", "make", "x", "--expires", "90m"],
        ["token", "make", "x", "--expires", "soon"],
        ["agent", "add", "gate-1", "--area", "all"],
        ["agent", "add", "gate-1"],
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(
    collector: Collector, village: Village, words: list[str]
) -> None:
    run = village(*words)
    assert run.returncode == 2
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    assert collector.requests == []


def test_roles_are_given_and_taken(collector: Collector, village: Village) -> None:
    path = "/persons/%E7%8E%8B%E8%8A%B3%2F..%3F"
    collector.answers("POST", f"{path}/grants", ONE_PERSON)
    collector.answers("DELETE", f"{path}/grants", ONE_PERSON)
    options = ("--role", "door_keeper", "--area", "441900003001-g02")
    run = village("person", "grant", "王芳/..?", *options)
    assert (run.returncode, run.stderr) == (0, "")
    assert collector.requests[0].document == {"role": "door_keeper", "area": "441900003001-g02"}
    assert "ROLES: broadcaster 441900003001, viewer everywhere" in run.stdout.splitlines()
    run = village("person", "withdraw", "王芳/..?", *options)
    assert (run.returncode, run.stderr) == (0, "")
    assert collector.requests[1].query == {"role": ["door_keeper"], "area": ["441900003001-g02"]}
    village("person", "withdraw", "王芳/..?", "--role", "viewer", "--area", "all")
    # An empty area is everywhere and must not get lost on the way.
    assert collector.requests[2].query == {"role": ["viewer"], "area": [""]}


@pytest.mark.parametrize(
    ("words", "method", "path", "question"),
    [
        (["person", "disable", "li"], "POST", "/persons/li/disable", "Disable li"),
        (["person", "reset", "li"], "POST", "/persons/li/password", "Reset li's password"),
        (
            ["person", "withdraw", "li", "--role", "viewer", "--area", "all"],
            "DELETE",
            "/persons/li/grants",
            "Take the role viewer in all from li?",
        ),
        (["token", "revoke", ROW], "DELETE", f"/tokens/{ROW}", f"End the token {ROW}?"),
        (["agent", "revoke", "gate-1"], "POST", "/agents/gate-1/revoke", "Revoke gate-1?"),
    ],
)
def test_what_takes_away_is_asked_for_on_a_terminal(
    collector: Collector, village: Village, words: list[str], method: str, path: str, question: str
) -> None:
    collector.answers(method, path, NEW_PERSON)
    if words[0] == "agent":
        collector.answers(method, path, {"schema": "village.agent/1"})
    with on_terminal(collector.url, *words) as terminal:
        terminal.wait_for(question)
        terminal.type("no")
        assert terminal.end() == 1
        assert "Nothing was changed." in terminal.text
    assert collector.requests == []
    with on_terminal(collector.url, *words) as terminal:
        terminal.wait_for(question)
        terminal.type("yes")
        assert terminal.end() == 0
    with on_terminal(collector.url, *words, "--yes") as terminal:
        assert terminal.end() == 0
        assert question not in terminal.text
    # A program has decided already.
    assert village(*words).returncode == 0
    assert collector.asked() == 3 * [f"{method} {path}"]


def test_a_revoked_token_as_a_document(collector: Collector, village: Village) -> None:
    collector.gives("DELETE", f"/tokens/{ROW}", Reply(b"", 204))
    assert json.loads(village("token", "revoke", str(ROW), "--json").stdout) == {
        "schema": "village.done/1",
        "token": ROW,
    }


def test_enabling_asks_nothing(collector: Collector) -> None:
    collector.answers("POST", "/persons/li/enable", ONE_PERSON)
    with on_terminal(collector.url, "person", "enable", "li") as terminal:
        assert terminal.end() == 0


def test_tokens(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/tokens", TOKENS)
    lines = village("token", "list", "--person", "li").stdout.splitlines()
    assert collector.requests[0].query == {"person": ["li"]}
    assert lines[1].split()[:5] == [ROW, "token", "nagios", "viewer", "441900003001"]
    assert lines[2].split()[:2] == ["3fd1a2b4c5d6e7f8", "session"]


def test_a_token_is_alone_on_standard_output(collector: Collector, village: Village) -> None:
    collector.answers("POST", "/tokens", NEW_TOKEN, status=201)
    run = village("token", "make", "nagios", "--role", "viewer", "--area", "441900003001", "--expires", "2w")
    assert (run.returncode, run.stdout) == (0, f"{NEW_TOKEN['secret']}\n")
    assert run.stderr.startswith(f"Token {ROW}, shown once, valid until 2026-12-24 08:30:00 +08:00.")
    assert collector.requests[0].document == {
        "label": "nagios",
        "days": 14,
        "grants": [{"role": "viewer", "area": "441900003001"}],
    }
    village("token", "make", "all that I may")
    assert collector.requests[1].document == {"label": "all that I may", "days": 30}
    assert json.loads(village("token", "make", "x", "--json").stdout) == NEW_TOKEN


def test_a_refusal_names_the_missing_right(collector: Collector, village: Village) -> None:
    lacking = {
        **problem(
            403, "this needs the right 'unlock' in area 441900003001, which li does not have", "Ask.", "请联系。"
        ),
        "right": "unlock",
        "area": "441900003001",
    }
    collector.answers("GET", "/persons", lacking, status=403)
    run = village("person", "list")
    assert run.returncode == 1
    assert "'unlock' in area 441900003001" in run.stderr
    chinese = village("--lang", "zh", "person", "list").stderr
    assert chinese == "village: 需要区域 441900003001 的 unlock（开门）权限，当前用户没有。 请联系。\n"


def test_no_secret_of_a_refused_request_is_told(collector: Collector, village: Village) -> None:
    for status in (400, 401, 403, 409, 422, 429, 500):
        collector.answers("POST", "/tokens", problem(status, "no", "", ""), status=status)
        run = village("token", "make", "x", more={"VILLAGE_TOKEN": "va1.own-secret"})
        assert run.returncode == 1
        assert collector.requests[-1].token == "va1.own-secret"
        assert "own-secret" not in run.stderr


def test_what_a_second_factor_needs(collector: Collector, village: Village) -> None:
    for words in (("totp", "enable"), ("totp", "disable")):
        run = village(*words)
        assert run.returncode == 2
        assert "Run it on a terminal." in run.stderr
    assert collector.requests == []


def test_the_second_factor_is_taken_away(collector: Collector) -> None:
    collector.lets_in()
    collector.gives("DELETE", "/me/totp", Reply(b"", 204))
    with on_terminal(collector.url, "totp", "disable") as terminal:
        terminal.wait_for("Present password:")
        terminal.type("my password")
        terminal.wait_for("authenticator:")
        terminal.type("123 456")
        assert terminal.end() == 0
        assert "my password" not in terminal.text
    assert collector.requests[-1].document == {"password": "my password", "code": "123456"}
