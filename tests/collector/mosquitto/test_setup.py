"""`village-collector mosquitto setup`, and what `check` says of what it made."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.collector.kit import VILLAGE
from tests.collector.mosquitto.kit import Broker, answer_of, kept, site
from tests.peers import absent, free_port
from village_collector.check import check
from village_collector.config import load_settings
from village_collector.mosquitto import writing
from village_collector.mosquitto.inspection import inspect
from village_collector.mosquitto.writing import Trusted, write_files
from village_collector.own_certificate import shown
from village_collector.trust.authority import OWN_LIFE, Authority, load_authority
from village_wire.address import BrokerAddress

COMMAND = [sys.executable, "-m", "village_collector.cli", "mosquitto", "setup"]
FILES = {"village.acl", "village.conf", "crl.pem", "ca.pem", "server.pem", "server.key"}
NAMES = ("localhost", "127.0.0.1")


def setup(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--data-dir", str(folder / "data"), "--dir", str(folder / "files"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in (folder / "files").iterdir()}


def test_setup_makes_everything_once_and_says_what_comes_next(tmp_path: Path) -> None:
    done = setup(tmp_path, "--standalone", "--listen", "127.0.0.1", "--name", "Broker.Example.cn", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["schema"], document["changed"]) == (
        0,
        "village-collector.mosquitto-setup/1",
        True,
    )
    assert document["broker"] == {
        "url": "mqtts://127.0.0.1:8883",
        "public_url": "mqtts://broker.example.cn:8883",
        "files_dir": str(tmp_path / "files"),
    }
    made = contents(tmp_path)
    assert made.keys() == FILES
    again = json.loads(setup(tmp_path, "--standalone", "--listen", "127.0.0.1", "--json").stdout)
    assert (again["changed"], {step["outcome"] for step in again["steps"]}) == (False, {"kept"})
    assert contents(tmp_path) == made
    # A name that was given once stays in the certificate; another one comes in addition.
    assert setup(tmp_path, "--standalone", "--listen", "127.0.0.1", "--name", "10.1.2.3").returncode == 0
    names = shown(x509.load_pem_x509_certificate((tmp_path / "files" / "server.pem").read_bytes())).names
    assert {"broker.example.cn", "10.1.2.3", "127.0.0.1", "localhost"} <= set(names)
    # What it prints is what the collector takes.
    text = setup(tmp_path, "--standalone", "--listen", "127.0.0.1").stdout
    assert "All was right already" in text
    (tmp_path / "collector.toml").write_text(text[text.index("[broker]") : text.index("Then")])
    assert load_settings(tmp_path / "collector.toml").broker.files_dir == tmp_path / "files"


def test_for_debian_s_mosquitto_it_prints_commands_for_root_and_gives_the_key_to_its_group(tmp_path: Path) -> None:
    done = setup(tmp_path, "--name", "broker.example.cn")
    assert done.returncode == 0, done.stderr
    assert "/etc/mosquitto/conf.d/village.conf" in done.stdout
    assert "systemctl enable --now village-mosquitto-reload.path" in done.stdout
    assert "pid_file" not in (tmp_path / "files" / "village.conf").read_text()
    assert "listener 8883\n" in (tmp_path / "files" / "village.conf").read_text()


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--listen", "broker"), 2, "IP address of this machine"),
        (("--name", "a b"), 2, "name or address of this machine"),
        (("--name", "x\ny"), 2, "name or address of this machine"),
        (("--port", "0"), 2, "--port"),
        (("--owner", "nobody-of-this-name"), 1, "no user nobody-of-this-name"),
        (("--config", "/nonexistent.toml"), 3, "nothing was started"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, options: tuple[str, ...], code: int, text: str) -> None:
    if "--owner" in options and os.geteuid() != 0:
        absent("only root makes folders for another user")
    done = setup(tmp_path, *options)
    assert (done.returncode, text in done.stderr) == (code, True), done
    assert not (tmp_path / "files" / "server.key").exists()


def test_a_folder_that_can_not_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("")
    done = setup(tmp_path, "--standalone")
    assert done.returncode == 1
    assert "run this as root" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can look into, as `/var/lib` is; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="village-setup-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_as_root_the_collector_s_user_writes_and_only_mosquitto_s_group_reads(open_folder: Path) -> None:
    if os.geteuid() != 0:
        absent("only root can act as two users")
    try:
        user = pwd.getpwnam("nobody")
        pwd.getpwnam("mosquitto")
    except KeyError:
        absent("there is no user mosquitto: apt-get install mosquitto")
    data, files, port = open_folder / "data", open_folder / "files", free_port()
    data.mkdir(mode=0o700)
    os.chown(data, user.pw_uid, user.pw_gid)
    done = await asyncio.to_thread(setup, open_folder, "--listen", "127.0.0.1", "--port", str(port))
    assert done.returncode == 0, done.stderr
    owners = {path.name: (path.owner(), path.group(), path.stat().st_mode & 0o7777) for path in files.iterdir()}
    assert owners["server.key"] == ("nobody", "mosquitto", 0o640)
    assert (files.owner(), files.group(), files.stat().st_mode & 0o7777) == ("nobody", "mosquitto", 0o2750)
    assert {owner for owner, _, _ in owners.values()} == {"nobody"}
    assert ((data / "ca.key").owner(), (data / "ca.key").stat().st_mode & 0o777) == ("nobody", 0o600)

    # mosquitto started by root becomes its own user, and reads all the same, at its start and at a reload.
    broker = Broker(files, port)
    await broker.start()
    try:
        settings = await asyncio.to_thread(load_settings, _config(open_folder, done.stdout), data)
        authority = await asyncio.to_thread(load_authority, data, make=False)
        assert (await inspect(settings))[0] == "ok"
        assert "has read them" in (await inspect(settings))[1]
        issued = authority.issue_passing("lin", present())
        (open_folder / "lin.pem").write_text(issued.pem)
        (open_folder / "lin.key").touch(0o600)
        (open_folder / "lin.key").write_text(issued.key_pem or "")
        box = BrokerAddress(
            settings.broker.url,
            ca_file=data / "ca.pem",
            certificate_file=open_folder / "lin.pem",
            key_file=open_folder / "lin.key",
        )
        assert await asyncio.to_thread(answer_of, box, "lin") == "accepted"
        trusted = Trusted({}, [], [(issued.serial, present())], NAMES)
        await asyncio.to_thread(_as_user, user, files, authority, trusted)
        assert (files / "crl.pem").group() == "mosquitto"
        broker.process.send_signal(1)
        async with asyncio.timeout(10):
            while await asyncio.to_thread(answer_of, box) != "SSLV3_ALERT_CERTIFICATE_REVOKED":
                await asyncio.sleep(0.05)
    finally:
        await broker.stop()


def _as_user(user: pwd.struct_passwd, files: Path, authority: Authority, trusted: Trusted) -> None:
    """Write as a collector does that runs as this user, in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            write_files(files, authority, trusted, present())
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def _config(folder: Path, printed: str) -> Path:
    path = folder / "collector.toml"
    path.write_text(printed[printed.index("[broker]") : printed.index("Then")])
    return path


async def test_check_says_what_is_wrong_with_the_files(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.enrol("lin")

        async def row(part: str = "broker files") -> tuple[str, str]:
            rows = await check(it.settings)
            return next((found.status, found.evidence) for found in rows if found.part == part)

        async with kept(it):
            async with asyncio.timeout(10):
                while "has read them" not in (await row())[1]:
                    await asyncio.sleep(0.1)
        assert await row("broker") == ("ok", f"{it.address.url} answers")
        good = (it.files / "village.acl").read_bytes()
        (it.files / "village.acl").write_bytes(good + b"topic read #\n")
        assert await row() == (
            "degraded",
            "rules and list of revoked certificates don't belong together: start the collector",
        )
        (it.files / "village.acl").write_bytes(good)
        (it.files / "server.key").chmod(0o644)
        assert "pass for the broker" in (await row())[1]
        (it.files / "server.key").chmod(0o600)
        await it.revoke("lin")
        pid = (it.files / "mosquitto.pid").read_text()
        (it.files / "mosquitto.pid").unlink()
        await it.keeper().prepare()
        status, evidence = await row()
        assert (status, "systemctl reload mosquitto" in evidence) == ("degraded", True)
        (it.files / "mosquitto.pid").write_text(pid)
        (it.files / "crl.pem").unlink()
        assert (await row())[0] == "down"
        assert "crl.pem" in (await row())[1]


def test_what_differs_is_written_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "files").mkdir()
    authority = load_authority(tmp_path / "data", make=True)
    now = present()

    def write(trusted: Trusted, after: timedelta = timedelta(0)) -> set[str]:
        return set(write_files(tmp_path / "files", authority, trusted, now + after).changed)

    nobody = Trusted({}, [], [], NAMES)
    assert write(nobody) == {"ca.pem", "server.key", "server.pem", "village.acl", "crl.pem"}
    assert write(nobody) == set()
    one = Trusted({"lin": VILLAGE}, [], [], NAMES)
    assert write(one) == {"village.acl", "crl.pem"}
    revoked = Trusted({}, [], [("1234", now)], NAMES)
    assert write(revoked) == {"village.acl", "crl.pem"}
    assert write(revoked, timedelta(days=30)) == set()
    assert write(revoked, OWN_LIFE * 0.7) == {"server.key", "server.pem"}
    (tmp_path / "files" / "village.acl").write_text("user eve\ntopic readwrite #\n")
    (tmp_path / "files" / "server.key").chmod(0o644)
    assert write(revoked, OWN_LIFE * 0.7) == {"village.acl", "server.key", "server.pem"}


def test_lists_grow_later_even_when_the_clock_was_put_back(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "files").mkdir()
    authority = load_authority(tmp_path / "data", make=True)
    now = present()
    before = None
    for number, after in enumerate((0.0, 0.0, -30.0, -1800.0, 3600.0)):
        revoked = [(f"{serial:x}", now) for serial in range(1, number + 2)]
        write_files(tmp_path / "files", authority, Trusted({}, [], revoked, NAMES), now + timedelta(seconds=after))
        listed = writing.read_list(tmp_path / "files", authority)
        assert listed is not None
        assert before is None or listed.last_update_utc > before
        # No broker with a good clock may find it to be of the future.
        assert listed.last_update_utc <= now + timedelta(seconds=max(after, 0.0))
        before = listed.last_update_utc


def present() -> datetime:
    return datetime.now(UTC)
