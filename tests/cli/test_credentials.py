from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_cli.credentials import MAX_FILE_BYTES, Credentials, CredentialsUnusable, Login, default_folder, normal

URL = "https://collector.example.cn:8480"
LOGIN = Login("-----BEGIN CERTIFICATE-----", "vs1.secret", "li", "2026-11-24T14:35:00Z")


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path / "a" / "village")


def test_nothing_is_kept_at_first(credentials: Credentials) -> None:
    assert credentials.of(URL) is None
    assert credentials.last() is None
    assert not credentials.folder.exists()


def test_what_is_kept_comes_back(credentials: Credentials) -> None:
    credentials.keep(URL, LOGIN)
    credentials.keep("https://10.0.0.5:8480", Login())
    assert Credentials(credentials.folder).of("HTTPS://Collector.example.cn:8480/") == LOGIN
    assert credentials.last() == "https://10.0.0.5:8480"
    credentials.end_session(URL)
    assert credentials.of(URL) == Login(LOGIN.authority, "", "li", "")
    credentials.forget("https://10.0.0.5:8480")
    assert (credentials.last(), credentials.of("https://10.0.0.5:8480")) == (None, None)
    assert "secret" not in repr(LOGIN)


def test_only_the_owner_reads_it_whatever_the_umask(credentials: Credentials) -> None:
    old = os.umask(0)
    try:
        credentials.keep(URL, LOGIN)
    finally:
        os.umask(old)
    assert stat.S_IMODE(credentials.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in credentials.folder.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666, 0o601])
def test_a_file_that_others_may_use_is_refused(credentials: Credentials, mode: int) -> None:
    credentials.keep(URL, LOGIN)
    credentials.file.chmod(mode)
    for use in (credentials.last, lambda: credentials.of(URL), lambda: credentials.keep(URL, LOGIN)):
        with pytest.raises(CredentialsUnusable, match=f"mode {mode:o}"):
            use()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_in_which_others_may_change_it_is_refused(credentials: Credentials, mode: int) -> None:
    credentials.keep(URL, LOGIN)
    credentials.folder.chmod(mode)
    with pytest.raises(CredentialsUnusable, match=f"mode {mode:o}"):
        credentials.of(URL)
    # A listing tells nobody a token.
    credentials.folder.chmod(0o755)
    assert credentials.of(URL) == LOGIN


def test_a_link_is_not_followed(credentials: Credentials, tmp_path: Path) -> None:
    credentials.keep(URL, LOGIN)
    elsewhere = tmp_path / "elsewhere"
    credentials.file.rename(elsewhere)
    credentials.file.symlink_to(elsewhere)
    with pytest.raises(CredentialsUnusable, match="symbolic link"):
        credentials.of(URL)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"collectors": []}', b"\xff", b"[" * 100_000, b" " * (MAX_FILE_BYTES + 1)]
)
def test_a_damaged_file_is_told(credentials: Credentials, content: bytes) -> None:
    credentials.keep(URL, LOGIN)
    credentials.file.write_bytes(content)
    with pytest.raises(CredentialsUnusable, match="is damaged"):
        credentials.of(URL)
    assert credentials.file.read_bytes() == content


@pytest.mark.parametrize("entry", [{}, {"token": 1, "authority": None}, {"later": "member"}])
def test_members_of_another_version_are_left_out(credentials: Credentials, entry: dict[str, object]) -> None:
    credentials.keep(URL, LOGIN)
    credentials.file.write_text(json.dumps({"last": 7, "collectors": {URL: entry, "x": 1}}))
    assert credentials.of(URL) == Login()
    assert credentials.of("x") is None
    assert credentials.last() is None


def test_what_a_kill_left_behind_is_no_obstacle(credentials: Credentials) -> None:
    credentials.keep(URL, LOGIN)
    left = credentials.folder / "credentials.json.new"
    left.write_text("half")
    left.chmod(0o644)
    credentials.keep("https://10.0.0.5", Login(token="other"))
    assert not left.exists()
    assert credentials.of(URL) == LOGIN
    assert stat.S_IMODE(credentials.file.stat().st_mode) == 0o600


WRITER = """
import sys
from pathlib import Path
from village_cli.credentials import Credentials, Login
credentials = Credentials(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number += 1
    credentials.keep("https://10.0.0.5", Login(token="t" * (number % 5000)))
    credentials.keep(f"https://10.0.0.{number % 50}", Login(token=str(number)))
"""


def test_a_kill_at_any_moment_leaves_a_whole_file(credentials: Credentials) -> None:
    credentials.keep(URL, LOGIN)
    for number in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(credentials.folder)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout as output:
            output.readline()
            before = credentials.file.stat().st_mtime_ns
            # Somewhere within the writes after the first.
            while credentials.file.stat().st_mtime_ns == before:
                pass
            for _ in range(number * 997):
                pass
            process.send_signal(signal.SIGKILL)
        process.wait()
        assert credentials.of(URL) == LOGIN


def test_logins_at_the_same_time_all_stay(credentials: Credentials) -> None:
    urls = [f"https://10.0.0.{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: Credentials(credentials.folder).keep(url, Login(token=url)), urls))
    assert [credentials.of(url) for url in urls] == [Login(token=url) for url in urls]


def test_where_the_folder_is() -> None:
    assert default_folder({"XDG_CONFIG_HOME": "/etc/somewhere"}) == Path("/etc/somewhere/village")
    home = Path.home() / ".config" / "village"
    assert default_folder({}) == default_folder({"XDG_CONFIG_HOME": ""}) == home
    assert default_folder({"XDG_CONFIG_HOME": "relative"}) == home


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Collector.Example.CN/", "https://collector.example.cn"),
        ("https://x:443", "https://x"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("https://[::1]:8480", "https://[::1]:8480"),
        ("https://x/prefix/", "https://x/prefix"),
        ("nonsense", "nonsense"),
        ("http://x:99999999", "http://x:99999999"),
        ("", ""),
    ],
)
def test_one_form_of_an_address(url: str, expected: str) -> None:
    assert normal(url) == expected


@given(st.text())
def test_the_form_of_an_address_is_its_own(url: str) -> None:
    assert normal(normal(url)) == normal(url)
