"""Through a whole life of all three programs, at the most talkative log level, no secret is where others could read it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.collector import ROOT
from tests.cli.desk import PASSWORD, Desk
from tests.cli.real import make_administrator
from tests.peers import free_port

pytestmark = pytest.mark.timeout(120)

VILLAGE = "441900003001"
WRONG = "not-the-password-7431"
CAMERA = "camera-secret-5520"
SERVERS = {"broker": "broker-secret-1180", "influx": "influx-secret-2291", "postgres": "postgres-secret-3302"}
_COLLECTOR = (sys.executable, "-m", "village_collector.cli")
_AGENT = (sys.executable, "-m", "village_agent.cli")


class Places:
    """Where a secret could be seen: by name, what stands there."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def add(self, name: str, text: str) -> None:
        self.seen[name] = self.seen.get(name, "") + text

    def look_at(self, process: subprocess.Popen[bytes]) -> None:
        """Note what any user can read of a process and its children, and what their environment holds."""
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            for file in ("cmdline", "environ"):
                self.add(f"{file} of {one.name()}", Path(f"/proc/{one.pid}/{file}").read_text(errors="replace"))
            limits = Path(f"/proc/{one.pid}/limits").read_text()
            assert "Max core file size        0                    0 " in limits, one.name()

    def check(self, **secrets: str) -> None:
        """Fail for each secret that stands somewhere."""
        for what, secret in secrets.items():
            assert len(secret) > 10, what
            found = [name for name, text in self.seen.items() if secret in text]
            assert not found, f"{what} is in {found}"


@contextmanager
def started(places: Places, log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose whole output goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield process
        places.look_at(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        places.add(log.name, log.read_text(errors="replace"))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_whole_life(tmp_path: Path) -> None:
    places, desk = Places(), Desk(tmp_path)
    data, state = tmp_path / "data", tmp_path / "agent"
    config = tmp_path / "collector.toml"
    config.write_text("[broker]\nport = 0\n[api]\nport = 0\n")
    words = ("run", "--config", str(config), "--data-dir", str(data), "--log-level", "debug")
    with started(places, tmp_path / "collector.log", *_COLLECTOR, *words):
        until((data / "addresses.json").exists)
        url = json.loads((data / "addresses.json").read_text())["api"]
        make_administrator(tmp_path, "chen")
        login = ("--ca", str(data / "ca.pem"))
        good = desk.password.read_text()
        desk.password.write_text(f"{WRONG}\n")
        refused = desk.login(url, *login, person="chen")
        assert refused.returncode != 0
        desk.password.write_text(good)
        accepted = desk.login(url, *login, person="chen")
        assert accepted.returncode == 0, accepted.stderr
        session = str(next(iter(_tokens(desk.kept()))))
        made = desk.run("token", "make", "monitor", "--json")
        assert made.returncode == 0, made.stderr
        token = str(json.loads(made.stdout)["token"])
        added = desk.run("agent", "add", "gate-1", "--area", VILLAGE, "--json")
        assert added.returncode == 0, added.stderr
        ticket = str(json.loads(added.stdout)["token"])
        enrolled = [
            subprocess.run(
                [*_AGENT, "enroll", url, "-", "--state-dir", str(state)],
                input=f"{text}\n", capture_output=True, text=True, cwd=ROOT, check=False,
            )
            for text in (ticket, ticket)
        ]  # fmt: skip
        assert enrolled[0].returncode == 0, enrolled[0].stderr
        listed = [
            desk.run(*words) for words in (("token", "list"), ("agents",), ("audit",), ("person", "list"), ("whoami",))
        ]
        forged = desk.run("devices", VILLAGE_TOKEN=token[:-1] + ("a" if token[-1] != "a" else "b"), VILLAGE_URL=url)
        assert forged.returncode != 0
        for number, run in enumerate((refused, accepted, *enrolled, *listed, forged)):
            places.add(f"output {number}", run.stdout + run.stderr)
        (tmp_path / "agent.toml").write_text(_agent_config(tmp_path, state))
        with started(
            places, tmp_path / "agent.log", *_AGENT, "run", "-c", str(tmp_path / "agent.toml"), "--log-level", "debug"
        ):
            until(lambda: "camera" in (tmp_path / "agent.log").read_text())
        revoked = desk.run("agent", "revoke", "gate-1", "--yes")
        places.add("revocation", revoked.stdout + revoked.stderr)
        places.add("addresses.json", (data / "addresses.json").read_text())
    keys = {path.name for path in data.iterdir() if path.suffix == ".key" or path.name in {"command_key", "audit_key"}}
    assert {"ca.key", "api.key", "command_key", "audit_key"} <= keys
    for path in data.iterdir():
        if path.is_file() and path.name not in keys:
            places.add(path.name, path.read_bytes().decode(errors="replace"))
    places.check(
        password=PASSWORD, wrong_password=WRONG, session=session, token=token, ticket=ticket, camera=CAMERA,
        ticket_secret=ticket.split(".")[1],
        **{f"key_{name.replace('.', '_')}": _body(data / name) for name in keys},
        agent_key=_body(next(state.rglob("agent.key"))),
    )  # fmt: skip
    kept = [path for path in (*data.iterdir(), *state.rglob("*"), *desk.config.rglob("*")) if path.is_file()]
    secret = [path for path in kept if any(word in path.read_bytes() for word in (b"PRIVATE KEY", session.encode()))]
    assert {path.name for path in secret} >= {"ca.key", "agent.key", "credentials.json"}
    assert [path for path in secret if path.stat().st_mode & 0o077] == []


def test_passwords_of_servers(tmp_path: Path) -> None:
    places = Places()
    for name, secret in SERVERS.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(f"{secret}\n")
    port = free_port()
    config = tmp_path / "collector.toml"
    config.write_text(
        f"""
[broker]
url = "mqtt://127.0.0.1:{port}"
username = "collector"
password_file = "broker"
[telemetry]
store = "influx"
url = "http://127.0.0.1:{port}"
organisation = "village"
bucket = "telemetry"
token_file = "influx"
[control]
url = "postgresql://village@127.0.0.1:{port}/village"
password_file = "postgres"
[api]
port = 0
"""
    )
    for words in (("check",), ("check", "--json"), ("run", "--log-level", "debug"), ("command-key",)):
        run = subprocess.run(
            [*_COLLECTOR, words[0], "--config", str(config), *words[1:]],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
        places.add(" ".join(words), run.stdout + run.stderr)
    assert f"127.0.0.1:{port}" in places.seen["check"]
    places.check(**SERVERS)
    for name in SERVERS:
        (tmp_path / name).chmod(0o644)
    exposed = subprocess.run(
        [*_COLLECTOR, "check", "--config", str(config)], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    assert exposed.count("chmod o=") == len(SERVERS)


def _agent_config(folder: Path, state: Path) -> str:
    (folder / "camera-password").touch(mode=0o600)
    (folder / "camera-password").write_text(CAMERA)
    return f"""
[agent]
state_dir = {json.dumps(str(state))}
[[devices]]
id = "camera"
driver = "rtsp"
url = "rtsp://127.0.0.1:{free_port()}/stream"
username = "viewer"
password_file = {json.dumps(str(folder / "camera-password"))}
"""


def _tokens(document: object) -> Iterator[str]:
    """Every value of a key `token`, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "token" and isinstance(value, str):
                yield value
            else:
                yield from _tokens(value)
    elif isinstance(document, list):
        for value in document:
            yield from _tokens(value)


def _body(path: Path) -> str:
    """The part of a key in PEM that is secret."""
    return path.read_text().splitlines()[1]
