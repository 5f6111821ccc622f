"""What a login is good for, and how it ends; tokens of programs in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import canned
from tests.cli.canned import DEVICES, ME, TOKEN, problem
from tests.cli.collector import Collector, Reply
from tests.cli.desk import PASSWORD, Desk
from village_collector.trust.authority import Authority


def test_a_session_that_has_ended(secure: Collector, desk: Desk, digits: str) -> None:
    desk.login(secure.url, "--fingerprint", digits)
    secure.answers("GET", "/devices", problem(401, "nobody is logged in", "x", "x"), status=401)
    run = desk.run("devices")
    assert run.returncode == 1
    assert run.stderr == f"village: nobody is logged in. Log in with `village login --url {secure.url}`.\n"
    document = json.loads(desk.run("devices", "--json").stderr)
    assert document["status"] == 401
    assert TOKEN not in run.stderr


def test_a_token_and_an_authority_from_the_environment(
    secure: Collector, desk: Desk, authority: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.certificate_pem)
    # With both nothing is read from the user's folder.
    desk.file.parent.mkdir(parents=True)
    desk.file.write_text("nonsense")
    more = {"VILLAGE_TOKEN": "va1.programs", "VILLAGE_CA": str(ca), "VILLAGE_URL": secure.url}
    secure.answers("GET", "/devices", DEVICES)
    assert desk.run("devices", **more).returncode == 0
    assert secure.requests[-1].token == "va1.programs"
    secure.answers("GET", "/devices", problem(401, "the token is not valid", "x", "x"), status=401)
    run = desk.run("devices", **more)
    assert run.returncode == 1
    assert "VILLAGE_TOKEN" in run.stderr
    assert "va1.programs" not in run.stderr
    run = desk.run("devices", **more, VILLAGE_LANG="zh")
    assert "请将 VILLAGE_TOKEN 设为有效令牌" in run.stderr


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "密码", "x" * 600, "a\tb"])
def test_a_token_that_is_none_is_told_and_not_shown(secure: Collector, desk: Desk, token: str) -> None:
    run = desk.run("devices", VILLAGE_TOKEN=token, VILLAGE_URL=secure.url)
    assert run.returncode == 2
    assert "VILLAGE_TOKEN holds no token" in run.stderr
    assert token not in run.stderr


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:8480", "http://collector.example.cn", "http://127.0.0.1.example.cn:1"]
)
def test_no_token_travels_in_clear(desk: Desk, url: str) -> None:
    for words in (("--url", url, "devices"), ("login", "li", "--url", url, "--password-file", str(desk.password))):
        run = desk.run(*words, VILLAGE_TOKEN="va1.programs")
        assert run.returncode == 3
        assert "write https://" in run.stderr


def test_an_address_with_a_password(desk: Desk) -> None:
    run = desk.run("--url", "https://li:secret-word@127.0.0.1:1", "devices")
    assert run.returncode == 3
    assert "secret-word" not in run.stderr


def test_plain_http_on_this_machine(collector: Collector, desk: Desk) -> None:
    collector.lets_in()
    assert desk.login(collector.url).returncode == 0
    assert collector.asked() == ["POST /login"]
    assert desk.run("whoami").returncode == 0
    assert collector.requests[-1].token == TOKEN


def test_logout_ends_the_session_and_knows_the_authority_still(
    secure: Collector, desk: Desk, authority: Authority, digits: str
) -> None:
    desk.login(secure.url, "--fingerprint", digits)
    run = desk.run("logout")
    assert (run.returncode, run.stdout) == (0, f"Logged out at {secure.url}.\n")
    assert (secure.asked()[-1], secure.requests[-1].token) == ("POST /logout", TOKEN)
    assert TOKEN not in desk.file.read_text()
    assert desk.kept()["collectors"][secure.url]["authority"] == authority.certificate_pem
    assert desk.run("logout").stdout == f"Nobody is logged in at {secure.url}.\n"
    run = desk.run("logout", "--forget", "--json")
    assert json.loads(run.stdout) == {"schema": "village.done/1", "url": secure.url}
    assert desk.kept() == {"last": None, "collectors": {}}


def test_logout_where_the_session_has_ended_or_nobody_answers(secure: Collector, desk: Desk, digits: str) -> None:
    desk.login(secure.url, "--fingerprint", digits)
    secure.answers("POST", "/logout", problem(401, "x", "x", "x"), status=401)
    assert desk.run("logout").returncode == 0
    desk.login(secure.url)
    secure.answers("POST", "/logout", problem(503, "the store is away", "x", "x"), status=503)
    run = desk.run("logout")
    assert run.returncode == 1
    assert "at the collector it ends by itself on 2026-11-24 22:35:00 +08:00" in run.stderr
    assert TOKEN not in desk.file.read_text()


def test_whoami(collector: Collector, desk: Desk) -> None:
    collector.lets_in()
    desk.login(collector.url)
    assert desk.run("whoami").stdout.splitlines() == [
        "PERSON: li",
        f"COLLECTOR: {collector.url}",
        "ROLES: broadcaster 441900003001, viewer everywhere",
        "SECOND FACTOR: no",
        "EXPIRES: 2026-11-24 22:35:00 +08:00",
    ]
    assert "角色: 播音员 441900003001，查看者 全部区域" in desk.run("--lang", "zh", "whoami").stdout
    assert desk.run("whoami", "--json").stdout == json.dumps(ME, ensure_ascii=False) + "\n"


def test_a_password_is_changed(collector: Collector, desk: Desk, tmp_path: Path) -> None:
    collector.lets_in()
    collector.gives("PUT", "/me/password", Reply(b"", 204))
    desk.login(collector.url)
    with desk.terminal("passwd") as terminal:
        terminal.wait_for("Present password:")
        terminal.type("old one")
        terminal.wait_for("New password:")
        terminal.type(PASSWORD)
        terminal.wait_for("New password again:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
        assert PASSWORD not in terminal.text
    assert collector.requests[-1].document == {"password": "old one", "new_password": PASSWORD}
    new = tmp_path / "new.txt"
    new.write_text("quite another one")
    run = desk.run("passwd", "--password-file", str(desk.password), "--new-password-file", str(new))
    assert (run.returncode, run.stdout) == (0, "The password is changed.\n")
    run = desk.run("passwd", "--password-file", str(desk.password), "--new-password-file", str(new), "--json")
    assert json.loads(run.stdout)["schema"] == "village.done/1"
    assert collector.requests[-1].document == {"password": PASSWORD, "new_password": "quite another one"}


def test_a_file_of_credentials_that_others_may_read(collector: Collector, desk: Desk) -> None:
    collector.lets_in()
    desk.login(collector.url)
    desk.file.chmod(0o640)
    run = desk.run("devices")
    assert run.returncode == 1
    assert run.stderr.startswith(f"village: {desk.file} is open to other users (mode 640). Close it with `chmod 600")
    assert "devices" not in " ".join(collector.asked())
    desk.file.chmod(0o600)
    desk.file.parent.chmod(0o770)
    assert "chmod 700" in desk.run("devices").stderr


def test_a_home_that_does_not_exist_is_no_obstacle_for_a_program(collector: Collector, desk: Desk) -> None:
    collector.answers("GET", "/devices", DEVICES)
    run = desk.run("--url", collector.url, "devices", XDG_CONFIG_HOME="", HOME="/nonexistent")
    assert run.returncode == 0


def test_a_folder_that_can_not_be_made(collector: Collector, desk: Desk) -> None:
    collector.lets_in()
    desk.config.write_text("a file")
    run = desk.login(collector.url)
    assert run.returncode == 1
    assert "can't be used" in run.stderr


def test_two_collectors_side_by_side(collector: Collector, secure: Collector, desk: Desk, digits: str) -> None:
    collector.lets_in()
    collector.answers("GET", "/devices", DEVICES)
    secure.answers("GET", "/devices", DEVICES)
    secure.answers("POST", "/login", {**canned.LOGIN, "token": "vs1.second"})
    desk.login(collector.url)
    desk.login(secure.url, "--fingerprint", digits)
    desk.run("devices")
    assert secure.requests[-1].token == "vs1.second"
    desk.run("--url", collector.url, "devices")
    assert collector.requests[-1].token == TOKEN
