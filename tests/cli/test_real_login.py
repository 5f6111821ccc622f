"""The program against the collector's program: over TLS, with its authority, people, tokens and boxes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pyotp
import pytest

from tests.cli.blocks import modules, read_blocks
from tests.cli.collector import PROGRAM, ROOT, environment
from tests.cli.desk import PASSWORD, Desk
from tests.cli.real import RealCollector, make_administrator, running
from village_wire.enrolment import read_token

#: Each starts programs by the dozen, on machines that have other work.
pytestmark = pytest.mark.timeout(120)
VILLAGE = "441900003001"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCollector]:
    folder = tmp_path_factory.mktemp("collector")
    with running(folder) as collector:
        make_administrator(folder, "chen")
        yield collector


@pytest.fixture
def chief(real: RealCollector, desk: Desk) -> Desk:
    """An administrator who is logged in."""
    run = desk.login(real.url, "--fingerprint", real.fingerprint, person="chen")
    assert run.returncode == 0, run.stderr
    return desk


def newcomer(chief: Desk, real: RealCollector, folder: Path, person: str, role: str, area: str = VILLAGE) -> Desk:
    """A person with a role, who has logged in with the initial password."""
    run = chief.run("person", "add", person, "--role", role, "--area", area, "--json")
    assert run.returncode == 0, run.stderr
    folder.mkdir()
    desk = Desk(folder)
    new = folder / "new.txt"
    new.write_text(desk.password.read_text())
    desk.password.write_text(json.loads(run.stdout)["initial_password"])
    run = desk.login(real.url, "--fingerprint", real.fingerprint, "--new-password-file", str(new), person=person)
    assert run.returncode == 0, run.stderr
    desk.password.write_text(new.read_text())
    return desk


def test_the_fingerprint_on_the_screen_is_the_one_in_the_log(real: RealCollector, desk: Desk) -> None:
    with desk.terminal("login", "chen", "--url", real.url) as terminal:
        terminal.wait_for("[yes/no]")
        assert real.fingerprint in terminal.text
        terminal.type("yes")
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0
    run = desk.run("whoami")
    assert run.stdout.splitlines()[:3] == ["PERSON: chen", f"COLLECTOR: {real.url}", "ROLES: administrator everywhere"]
    assert desk.run("health").returncode == 3  # No device yet.


def test_another_fingerprint_and_a_wrong_password(real: RealCollector, desk: Desk) -> None:
    digits = real.fingerprint.replace(":", "")
    other = f"{(int(digits, 16) ^ 1):064x}"
    run = desk.login(real.url, "--fingerprint", other, person="chen")
    assert run.returncode == 1
    assert "another fingerprint" in run.stderr
    desk.password.write_text("quite a wrong password")
    run = desk.login(real.url, "--fingerprint", digits, person="chen")
    assert run.returncode == 1
    assert "quite a wrong" not in run.stderr + real.log
    assert desk.kept()["collectors"][real.url]["token"] == ""


def test_a_person_from_the_initial_password_to_the_end(real: RealCollector, chief: Desk, tmp_path: Path) -> None:
    desk = newcomer(chief, real, tmp_path / "li", "li", "viewer")
    assert f"ROLES: viewer {VILLAGE}" in desk.run("whoami").stdout
    assert desk.run("devices").returncode == 0
    refused = desk.run("person", "list")
    assert refused.returncode == 1
    assert "'administer'" in refused.stderr
    assert "administer（管理用户）" in desk.run("--lang", "zh", "person", "list").stderr
    assert "'maintain'" in desk.run("agent", "add", "gate-7", "--area", VILLAGE).stderr
    run = chief.run("person", "grant", "li", "--role", "door_keeper", "--area", f"{VILLAGE}-g02")
    assert f"door keeper {VILLAGE}-g02" in run.stdout
    run = chief.run("person", "withdraw", "li", "--role", "door_keeper", "--area", f"{VILLAGE}-g02")
    assert run.returncode == 0
    assert "door keeper" not in run.stdout
    assert chief.run("person", "disable", "li").returncode == 0
    gone = desk.run("devices")
    assert gone.returncode == 1
    assert f"village login --url {real.url}" in gone.stderr
    assert "disabled" in chief.run("person", "show", "li").stdout
    assert desk.login(real.url, person="li").returncode == 1
    assert chief.run("person", "enable", "li").returncode == 0
    assert desk.login(real.url, person="li").returncode == 0
    reset = chief.run("person", "reset", "li")
    assert "Initial password, shown once" in reset.stdout
    assert desk.run("devices").returncode == 1
    last = chief.run("person", "disable", "chen")
    assert last.returncode == 1
    assert "last who administers everything" in last.stderr


def test_a_token_of_a_program(real: RealCollector, chief: Desk, tmp_path: Path) -> None:
    run = chief.run("token", "make", "nagios", "--role", "viewer", "--area", VILLAGE, "--expires", "7d")
    assert run.returncode == 0, run.stderr
    token = run.stdout.strip()
    ca = tmp_path / "pinned.pem"
    ca.write_text(chief.kept()["collectors"][real.url]["authority"])
    more = {
        "VILLAGE_TOKEN": token,
        "VILLAGE_CA": str(ca),
        "VILLAGE_URL": real.url,
        "XDG_CONFIG_HOME": str(tmp_path / "none"),
    }
    assert chief.run("devices", **more).returncode == 0
    assert f"ONLY: viewer {VILLAGE}" in chief.run("whoami", **more).stdout
    refused = chief.run("person", "list", **more)
    assert refused.returncode == 1
    assert token not in refused.stderr
    assert "session of a login" in chief.run("token", "make", "more", **more).stderr
    listed = json.loads(chief.run("token", "list", "--json").stdout)["tokens"]
    identity = next(row["id"] for row in listed if row["label"] == "nagios")
    assert identity in chief.run("token", "list").stdout
    assert chief.run("token", "revoke", identity).returncode == 0
    gone = chief.run("devices", **more)
    assert gone.returncode == 1
    assert "VILLAGE_TOKEN" in gone.stderr
    # Without the authority nothing is sent at all.
    unknown = chief.run("devices", VILLAGE_TOKEN=token, VILLAGE_URL=real.url, XDG_CONFIG_HOME=str(tmp_path / "none"))
    assert unknown.returncode == 3
    assert token not in unknown.stderr + real.log


def test_a_session_that_was_ended_elsewhere(real: RealCollector, chief: Desk) -> None:
    identity = json.loads(chief.run("whoami", "--json").stdout)["token"]["id"]
    assert chief.run("token", "revoke", identity).returncode == 0
    run = chief.run("devices", "--json")
    assert run.returncode == 1
    document = json.loads(run.stderr)
    assert (document["status"], document["advice"]["en"]) == (401, f"Log in with `village login --url {real.url}`.")
    assert chief.run("logout").returncode == 0


def test_a_box(real: RealCollector, chief: Desk) -> None:
    with chief.terminal("agent", "add", "gate-1", "--area", VILLAGE) as terminal:
        assert terminal.end() == 0
    line = next(line.strip() for line in terminal.text.splitlines() if "village-agent enroll" in line)
    assert read_blocks(terminal.text) == modules(line)
    _, _, url, token = line.split()
    assert url == real.url
    assert real.fingerprint.replace(":", "").lower().startswith(read_token(token).fingerprint.hex())
    assert token not in real.log
    shown = chief.run("agent", "show", "gate-1").stdout
    assert "CERTIFICATE: token until" in shown
    assert "gate-1" in chief.run("agent", "list").stdout
    assert chief.run("agent", "revoke", "gate-1").returncode == 0
    assert "revoked" in chief.run("agent", "show", "gate-1").stdout
    assert chief.run("agent", "revoke", "gate-9").returncode == 1


def test_a_second_factor(real: RealCollector, chief: Desk, tmp_path: Path) -> None:
    desk = newcomer(chief, real, tmp_path / "wang", "王芳", "broadcaster")
    # Each step counts once, and the one before and the one after the present one are taken, too.
    step = int(time.time()) // 30
    with desk.terminal("totp", "enable") as terminal:
        terminal.wait_for("Code of your authenticator:")
        uri = next(line for line in terminal.text.splitlines() if line.startswith("otpauth:"))
        assert read_blocks(terminal.text) == modules(uri)
        app = pyotp.parse_uri(uri)
        assert isinstance(app, pyotp.TOTP)
        terminal.type(app.generate_otp(step))
        terminal.wait_for("Present password:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0, terminal.text
    assert desk.run("logout").returncode == 0
    assert desk.login(real.url, person="王芳").returncode == 1
    with desk.terminal("login", "王芳") as terminal:
        terminal.wait_for("Password:")
        terminal.type(PASSWORD)
        terminal.wait_for("Code of your authenticator:")
        terminal.type(app.generate_otp(step + 1))
        assert terminal.end() == 0, terminal.text
    assert "SECOND FACTOR: yes" in desk.run("whoami").stdout
    assert app.secret not in real.log


def test_no_secret_stands_in_a_list_of_processes(real: RealCollector, chief: Desk) -> None:
    token = chief.kept()["collectors"][real.url]["token"]
    process = subprocess.Popen(
        [*PROGRAM, "events", "--follow"],
        env=environment("", chief.more),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seen = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    finally:
        process.kill()
        process.wait()
    assert token.encode() not in seen
    assert token not in real.log
    assert PASSWORD not in real.log


def test_another_collector_at_the_same_address(desk: Desk, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        make_administrator(folder, "chen")
    with running(folders[0]) as first:
        assert desk.login(first.url, "--fingerprint", first.fingerprint, person="chen").returncode == 0
    token = desk.kept()["collectors"][first.url]["token"]
    with running(folders[1], urlsplit(first.url).port or 0) as second:
        assert second.url == first.url
        for words in (("devices",), ("login", "chen", "--password-file", str(desk.password))):
            run = desk.run(*words)
            assert run.returncode == 3
            assert "somebody may stand between you and the collector" in run.stderr
            assert token not in run.stderr
        assert desk.login(second.url, "--fingerprint", second.fingerprint, person="chen").returncode == 0
        assert desk.run("devices").returncode == 0
