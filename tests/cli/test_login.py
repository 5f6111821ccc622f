"""Logging in: what a person is asked, and what a program gives."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.cli.canned import DEVICES, LOGIN, TOKEN, problem
from tests.cli.collector import Collector, Reply
from tests.cli.desk import PASSWORD, Desk
from village_cli.pinning import shown
from village_collector.trust.authority import Authority

DENIED = problem(401, "name, password or code is wrong", "Try again.", "请重试。")
INITIAL = problem(403, "the password is an initial one", "Choose your own.", "请设置自己的密码。")


def enter(desk: Desk, url: str) -> None:
    with desk.terminal("login", "--url", url) as terminal:
        terminal.wait_for("[yes/no]")
        terminal.type("yes")
        terminal.wait_for("Name:")
        terminal.type("li")
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
        assert PASSWORD not in terminal.text
        assert "until 2026-11-24 22:35:00 +08:00" in terminal.text


def test_a_person_compares_the_fingerprint_once(secure: Collector, desk: Desk, digits: str) -> None:
    with desk.terminal("login", "li", "--url", secure.url) as terminal:
        terminal.wait_for("[yes/no]")
        assert f"SHA256:{shown(digits)}" in terminal.text
        # Nothing but the certificate was asked for until now.
        assert set(secure.asked()) == {"GET /authority"}
        terminal.type("yes")
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
    assert secure.requests[-1].document == {"person": "li", "password": PASSWORD}
    before = len(secure.requests)
    with desk.terminal("login") as terminal:
        terminal.wait_for("Name (Enter: li):")
        terminal.type("")
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
    assert secure.asked()[before:] == ["GET /authority", "POST /login"]


def test_what_a_login_keeps_and_what_it_is_good_for(secure: Collector, desk: Desk, authority: Authority) -> None:
    enter(desk, secure.url)
    assert desk.kept() == {
        "last": secure.url,
        "collectors": {
            secure.url: {
                "authority": authority.certificate_pem,
                "token": TOKEN,
                "person": "li",
                "expires": LOGIN["expires"],
                "second_factor": False,
            }
        },
    }
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.file.parent.stat().st_mode) == 0o700
    secure.answers("GET", "/devices", DEVICES)
    run = desk.run("devices")
    assert (run.returncode, run.stderr) == (0, "")
    assert secure.requests[-1].token == TOKEN


def test_a_person_who_does_not_agree_sends_nothing(secure: Collector, desk: Desk) -> None:
    with desk.terminal("login", "li", "--url", secure.url) as terminal:
        terminal.wait_for("[yes/no]")
        terminal.type("perhaps")
        assert terminal.end() == 1
    assert "POST /login" not in secure.asked()
    assert not desk.file.exists()


def test_the_question_in_chinese(secure: Collector, desk: Desk) -> None:
    with desk.terminal("--lang", "zh", "login", "li", "--url", secure.url) as terminal:
        terminal.wait_for("[是/否]")
        terminal.type("是")
        terminal.wait_for("密码：")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
        assert "已以 li 登录" in terminal.text


def test_a_program_gives_the_fingerprint(secure: Collector, desk: Desk, digits: str) -> None:
    run = desk.login(secure.url)
    assert run.returncode == 2
    assert shown(digits) in run.stderr
    assert "--fingerprint" in run.stderr
    assert "POST /login" not in secure.asked()
    for form in (digits, shown(digits), f"SHA256:{shown(digits)}"):
        run = desk.login(secure.url, "--fingerprint", form, "--json")
        assert (run.returncode, run.stderr) == (0, "")
        document = json.loads(run.stdout)
        assert (document["schema"], document["url"], document["person"]) == ("village.login/1", secure.url, "li")
        assert TOKEN not in run.stdout


def test_the_code_of_a_second_factor_is_asked_for(collector: Collector, desk: Desk) -> None:
    collector.lets_in()
    refused = Reply(json.dumps(DENIED).encode(), 401, "application/problem+json")
    collector.gives("POST", "/login", refused, Reply(json.dumps(LOGIN).encode()))
    with desk.terminal("login", "li", "--url", collector.url) as terminal:
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        terminal.wait_for("if you use one:")
        terminal.type("123 456")
        assert terminal.end() == 0
    assert collector.requests[-1].document == {"person": "li", "password": PASSWORD, "code": "123456"}
    # The next time it is asked for at once: a login without it would count as a failed one.
    collector.answers("POST", "/login", LOGIN)
    with desk.terminal("login", "li") as terminal:
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        terminal.wait_for("Code of your authenticator:")
        terminal.type("654321")
        assert terminal.end() == 0
    assert len(collector.requests) == 3
    assert collector.requests[-1].document["code"] == "654321"


def test_a_wrong_password(collector: Collector, desk: Desk) -> None:
    collector.answers("POST", "/login", DENIED, status=401)
    with desk.terminal("login", "li", "--url", collector.url) as terminal:
        terminal.wait_for("Password:")
        terminal.type("wrong")
        terminal.wait_for("if you use one:")
        terminal.type("")
        assert terminal.end() == 1
        assert "name, password or code is wrong. Try again." in terminal.text
    run = desk.login(collector.url)
    assert run.returncode == 1
    assert run.stderr == "village: name, password or code is wrong. Try again.\n"
    assert len(collector.requests) == 2


def test_how_long_somebody_is_locked_out(collector: Collector, desk: Desk) -> None:
    locked = json.dumps(problem(429, "too many failed logins", "Wait.", "请等待。")).encode()
    collector.gives("POST", "/login", Reply(locked, 429, "application/problem+json", {"Retry-After": "754"}))
    run = desk.login(collector.url)
    assert run.stderr == "village: too many failed logins; try again in 12 min 34 s. Wait.\n"
    collector.gives("POST", "/login", Reply(locked, 429, "application/problem+json", {"Retry-After": "soon"}))
    assert desk.login(collector.url).stderr == "village: too many failed logins. Wait.\n"


def test_an_initial_password_is_changed_at_once(collector: Collector, desk: Desk, tmp_path: Path) -> None:
    refused = Reply(json.dumps(INITIAL).encode(), 403, "application/problem+json")
    collector.gives("POST", "/login", refused, Reply(json.dumps(LOGIN).encode()))
    with desk.terminal("login", "li", "--url", collector.url) as terminal:
        terminal.wait_for("Password:")
        terminal.type("k7m2q-initial")
        terminal.wait_for("New password:")
        terminal.type(PASSWORD)
        terminal.wait_for("New password again:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
        assert PASSWORD not in terminal.text
    assert collector.requests[-1].document == {"person": "li", "password": "k7m2q-initial", "new_password": PASSWORD}
    new = tmp_path / "new.txt"
    new.write_text("quite another one")
    collector.gives("POST", "/login", refused, Reply(json.dumps(LOGIN).encode()))
    assert desk.login(collector.url, "--new-password-file", str(new)).returncode == 0
    assert collector.requests[-1].document["new_password"] == "quite another one"
    collector.gives("POST", "/login", refused)
    run = desk.login(collector.url)
    assert run.returncode == 2
    assert "--new-password-file" in run.stderr


def test_two_new_passwords_that_differ(collector: Collector, desk: Desk) -> None:
    collector.answers("POST", "/login", INITIAL, status=403)
    with desk.terminal("login", "li", "--url", collector.url) as terminal:
        terminal.wait_for("Password:")
        terminal.type("k7m2q-initial")
        terminal.wait_for("New password:")
        terminal.type("one of them")
        terminal.wait_for("New password again:")
        terminal.type("the other one")
        assert terminal.end() == 2
    assert len(collector.requests) == 1


def test_the_password_comes_from_a_file_or_standard_input_and_nowhere_else(collector: Collector, desk: Desk) -> None:
    collector.lets_in()
    words = ("login", "li", "--url", collector.url)
    assert desk.run(*words, "--password-file", "-", stdin=f"{PASSWORD}\r\nmore").returncode == 0
    assert collector.requests[-1].document["password"] == PASSWORD
    desk.password.write_text("")
    for run in (desk.login(collector.url), desk.run(*words), desk.run("login", "--url", collector.url)):
        assert run.returncode == 2
    assert len(collector.requests) == 1
    assert desk.run(*words, "--password", PASSWORD).returncode == 2


def test_ctrl_c_at_the_password(collector: Collector, desk: Desk) -> None:
    with desk.terminal("login", "li", "--url", collector.url) as terminal:
        terminal.wait_for("Password:")
        assert terminal.interrupt() == 130
        assert "Traceback" not in terminal.text
    assert collector.requests == []
