"""A real PostgreSQL on the loopback: a private cluster that asks for a password, removed at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.peers import free_port, peer

USER = "village"
PASSWORD = "p@ss/word of a test"
#: A killed server's other processes hold its shared memory for a moment.
_START_SECONDS = 20.0


def _program(name: str) -> Path:
    # Debian keeps the server's programs off PATH, by version.
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return found[-1] if found else peer(name)


@dataclass
class PostgresServer:
    """Start and kill it at will; it keeps its port and its data."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None
    _names: Iterator[int] = field(default_factory=lambda: count(1))

    def start(self) -> None:
        """Return once it answers."""
        settings = ["fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1", "max_connections=60"]
        options = [word for setting in settings for word in ("-c", setting)]
        place = ["-D", self.folder / "data", "-k", self.folder, "-p", self.port]
        self._process = _run_as_nobody([_program("postgres"), *place, *options], self.folder)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            ready = subprocess.run(
                [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False, timeout=10
            )
            if ready.returncode == 0:
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it with SIGKILL, as a power cut does; the processes that serve its clients end by themselves."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it without a shutdown checkpoint."""
        self._end(signal.SIGQUIT)

    def make_database(self) -> str:
        """Return the URL, without the password, of a new database."""
        name = f"control{next(self._names)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0", "postgres")
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str) -> str:
        """Run a statement with the server's own client."""
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        ran = subprocess.run(
            [str(_program("psql")), "-XAtq", "-v", "ON_ERROR_STOP=1", *place, "-c", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return ran.stdout.strip()

    def password_file(self, folder: Path) -> Path:
        """Return a new file with the password."""
        path = folder / "postgres-password"
        path.write_text(f"{PASSWORD}\n")
        path.chmod(0o600)
        return path

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Make a cluster and start its server."""
    initdb = _program("initdb")
    # Not under pytest's own folder, which other users can't enter.
    folder = Path(tempfile.mkdtemp(prefix="village-postgres-"))
    try:
        if os.geteuid() == 0:
            account = _account()
            os.chown(folder, account.pw_uid, account.pw_gid)
        secret = folder / "password"
        secret.write_text(f"{PASSWORD}\n")
        secret.chmod(0o644)
        options = [f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "--no-locale"]
        made = _run_as_nobody([initdb, "-D", folder / "data", "--encoding=UTF8", *options], folder)
        assert made.wait(60) == 0, (folder / "log").read_text()
        server = PostgresServer(folder, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _run_as_nobody(command: Sequence[object], folder: Path) -> subprocess.Popen[bytes]:
    # It refuses to run as root.
    with (folder / "log").open("ab") as log:
        words = [str(word) for word in command]
        if os.geteuid() != 0:
            return subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
        account = _account()
        return subprocess.Popen(
            words,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )
