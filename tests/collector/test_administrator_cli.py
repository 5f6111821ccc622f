"""`village-collector administrator` as somebody at the server uses it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.collector.kit import T0
from tests.collector.people import add_person, add_token
from village_collector.cli import app
from village_collector.people.rights import Grant
from village_collector.stores.audit_records import AuditFilter
from village_collector.stores.control import ControlStore
from village_wire.audit import read_entry

PASSWORD = "three honest words"


def run(folder: Path, *arguments: str, typed: str = "", code: int = 0) -> str:
    result = CliRunner().invoke(app, ["administrator", *arguments, "--data-dir", str(folder)], input=typed)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def store(folder: Path) -> ControlStore:
    control = ControlStore(f"sqlite:///{folder / 'control.db'}")
    control.open()
    return control


def test_the_first_administrator(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    assert "chen is administrator" in run(folder, "Chen", "--password-file", str(tmp_path / "password"))
    assert folder.stat().st_mode & 0o777 == 0o700
    control = store(folder)
    person = control.person("chen")
    assert person is not None
    assert (person.grants, person.has_password, person.initial_until) == ((Grant("administrator"),), True, None)
    (row,) = control.audit(AuditFilter(), 10)
    act = read_entry(row[1]).act
    assert (act.action, act.address, act.target, act.outcome) == ("person.administrator", "console", "chen", "allowed")
    assert PASSWORD not in row[1]
    control.close()


def test_the_way_back_in(folder: Path) -> None:
    folder.mkdir()
    control = store(folder)
    add_person(control, "chen", Grant("viewer", "441900003001"), password="an old hash")
    add_token(control, "chen", now=T0, api=True)
    control.set_totp("chen", "A" * 32)
    add_person(control, "wang", Grant("administrator"), password="an old hash")
    control.set_disabled("chen", True, lambda _: True)
    output = run(folder, "chen", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert "with the new password" in output
    assert PASSWORD not in output
    person, credentials = control.person("chen"), control.credentials("chen")
    assert person is not None
    assert credentials is not None
    assert (person.disabled, person.totp) == (False, False)
    assert Grant("administrator") in person.grants
    assert credentials.password != "an old hash"
    assert control.tokens("chen", T0) == []
    control.close()


@pytest.mark.parametrize(
    ("name", "typed", "told"),
    [
        ("chen", "short\nshort\n", "at least 12 characters"),
        ("a b", f"{PASSWORD}\n{PASSWORD}\n", "a name has"),
        ("-", f"{PASSWORD}\n{PASSWORD}\n", "a name has"),
    ],
)
def test_what_is_refused_changes_nothing(folder: Path, name: str, typed: str, told: str) -> None:
    output = run(folder, name, typed=typed, code=3)
    assert told in output
    assert "Nothing was changed" in output
    assert not folder.exists()


def test_a_password_file_that_is_absent_or_empty(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, told in (("absent", "No such file"), ("empty", "must hold the secret")):
        assert told in run(folder, "chen", "--password-file", str(tmp_path / name), code=3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_root_does_not_write_into_the_folder_of_the_collectors_user(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    output = run(folder, "chen", typed=f"{PASSWORD}\n{PASSWORD}\n", code=1)
    assert "sudo -u nobody" in output
    assert list(folder.iterdir()) == []


def test_a_password_is_not_shown_while_it_is_typed(folder: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "village_collector.cli", "administrator", "chen", "--data-dir", str(folder)]
    shown = b""
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True) as process:
        os.close(follower)
        try:
            for question in ("密码: ", "再次输入: "):
                # The space at the end comes once the terminal shows no more what is typed.
                while not shown.endswith(question.encode()):
                    shown += os.read(leader, 1000)
                os.write(leader, PASSWORD.encode() + b"\n")
            while part := os.read(leader, 1000):
                shown += part
        except OSError:
            # The other end is closed.
            pass
        finally:
            process.terminate()
            os.close(leader)
    assert "chen is administrator" in shown.decode()
    assert PASSWORD not in shown.decode()
