from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli import canned
from tests.cli.canned import DEVICES, LOGIN, ME, TOKEN, problem
from tests.cli.collector import Collector, Reply, serve
from tests.cli.desk import NAMES, PASSWORD, Desk
from village_cli.pinning import fingerprint, shown
from village_collector.trust.authority import Authority, load_authority

DENIED = problem(401, "name, password or code is wrong", "Try again.", "请重试。")
INITIAL = problem(403, "the password is an initial one", "Choose your own.", "请设置自己的密码。")


@pytest.fixture
def digits(authority: Authority) -> str:
    return fingerprint(authority.certificate_pem)


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


def test_another_fingerprint(secure: Collector, desk: Desk, digits: str) -> None:
    run = desk.login(secure.url, "--fingerprint", "00" * 32)
    assert run.returncode == 1
    assert run.stderr.startswith(
        f"village: The authority at {secure.url} has another fingerprint: SHA256:{shown(digits)}."
    )
    assert secure.asked() == ["GET /authority"]
    assert not desk.file.exists()
    for nonsense in ("00" * 31, "zz" * 32, ""):
        assert desk.login(secure.url, "--fingerprint", nonsense).returncode == 2


def test_a_server_that_shows_an_authority_which_does_not_sign_for_it(
    secure: Collector, desk: Desk, tmp_path: Path
) -> None:
    # The fingerprint is right, but whoever answers only repeats a certificate that everybody may have.
    other = load_authority(tmp_path, make=True)
    secure.lets_in(other.certificate_pem)
    run = desk.login(secure.url, "--fingerprint", fingerprint(other.certificate_pem))
    assert run.returncode == 3
    assert "somebody may stand between you and the collector" in run.stderr
    assert "POST /login" not in secure.asked()
    run = desk.login(secure.url)
    assert run.returncode == 3
    assert "POST /login" not in secure.asked()


def test_only_the_certificate_whose_fingerprint_was_shown_is_kept(
    secure: Collector, desk: Desk, authority: Authority, digits: str, tmp_path: Path
) -> None:
    other = load_authority(tmp_path, make=True)
    secure.lets_in(f"{authority.certificate_pem}{other.certificate_pem}")
    assert desk.login(secure.url, "--fingerprint", digits).returncode == 0
    assert desk.kept()["collectors"][secure.url]["authority"] == authority.certificate_pem


def test_the_authority_from_a_file(secure: Collector, desk: Desk, authority: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.certificate_pem)
    assert desk.login(secure.url, "--ca", str(ca)).returncode == 0
    assert secure.asked() == ["POST /login"]
    desk.run("logout", "--forget")
    words = ("login", "li", "--url", secure.url, "--password-file", str(desk.password))
    assert desk.run(*words, VILLAGE_CA=str(ca)).returncode == 0
    ca.write_text("nonsense")
    run = desk.login(secure.url, "--ca", str(ca))
    assert run.returncode == 2
    assert "holds no certificate" in run.stderr
    assert desk.login(secure.url, "--ca", str(tmp_path / "absent.pem")).returncode == 2


def test_an_authority_of_the_systems_store_needs_no_question(
    secure: Collector, desk: Desk, authority: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "store.pem"
    ca.write_text(authority.certificate_pem)
    words = ("login", "li", "--url", secure.url, "--password-file", str(desk.password))
    run = desk.run(*words, SSL_CERT_FILE=str(ca))
    assert (run.returncode, run.stderr) == (0, "")
    assert desk.kept()["collectors"][secure.url]["authority"] == ""


def test_a_changed_authority(authority: Authority, desk: Desk, digits: str, tmp_path: Path) -> None:
    with serve(authority.issue_server(NAMES, datetime.now(UTC))) as first:
        first.lets_in(authority.certificate_pem)
        assert desk.login(first.url, "--fingerprint", digits).returncode == 0
    other = load_authority(tmp_path, make=True)
    with serve(other.issue_server(NAMES, datetime.now(UTC)), urlsplit(first.url).port or 0) as second:
        second.lets_in(other.certificate_pem)
        second.answers("GET", "/devices", DEVICES)
        for words in (("devices",), ("login", "li", "--password-file", str(desk.password))):
            run = desk.run(*words)
            assert run.returncode == 3
            assert "is not signed by the authority that you accepted" in run.stderr
            assert "village login --fingerprint" in run.stderr
        assert second.requests == []
        # Nor does anybody on a terminal get a question that habit would answer with yes.
        with desk.terminal("login", "li") as terminal:
            assert terminal.end() == 3
        assert second.requests == []
        assert desk.login(second.url, "--fingerprint", fingerprint(other.certificate_pem)).returncode == 0
        assert [request.token for request in second.requests] == ["", ""]
        assert desk.run("devices").returncode == 0


def test_a_certificate_for_another_name(authority: Authority, desk: Desk, digits: str) -> None:
    with serve(authority.issue_server(["collector.example.cn"], datetime.now(UTC))) as elsewhere:
        elsewhere.lets_in(authority.certificate_pem)
        run = desk.login(elsewhere.url, "--fingerprint", digits)
    assert run.returncode == 3
    assert "is not for this name" in run.stderr
    assert "[api] names" in run.stderr
    assert "POST /login" not in elsewhere.asked()


def test_a_certificate_that_has_ended(authority: Authority, desk: Desk, digits: str) -> None:
    with serve(authority.issue_server(NAMES, datetime.now(UTC) - timedelta(days=100))) as late:
        late.lets_in(authority.certificate_pem)
        run = desk.login(late.url, "--fingerprint", digits)
    assert run.returncode == 3
    assert "does not hold at this time" in run.stderr
    assert "clock" in run.stderr
    assert "POST /login" not in late.asked()


def test_an_unknown_authority_leads_to_login(secure: Collector, desk: Desk) -> None:
    run = desk.run("--url", secure.url, "devices")
    assert run.returncode == 3
    assert f"village login --url {secure.url}" in run.stderr
    assert secure.requests == []


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


def test_https_to_a_server_that_speaks_http_and_the_other_way_round(
    collector: Collector, secure: Collector, desk: Desk
) -> None:
    run = desk.login(collector.url.replace("http:", "https:"))
    assert run.returncode == 3
    assert "no TLS connection" in run.stderr
    run = desk.login(secure.url.replace("https:", "http:"))
    assert run.returncode == 3
    assert "perhaps it speaks https" in run.stderr


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
