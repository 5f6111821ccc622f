"""The identity on disk: whole at every moment, and checked when it is read."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from tests.agent.identity.api import COMMAND_KEY, NEXT_KEY, authority, document
from tests.agent.kit import AREA
from village_agent.identity import folder
from village_agent.identity.certificates import check_certificate, load_key, make_key, pem, signing_request
from village_agent.identity.folder import (
    AUTHORITY,
    CERTIFICATE,
    COMMAND_KEYS,
    KEY,
    RECORD,
    Identity,
    InvalidIdentity,
    Record,
    read_identity,
    read_key,
    write_command_keys,
    write_identity,
    write_key,
)
from village_collector.trust.authority import Authority

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def parts(by: Authority, agent: str = "box", number: int = 1) -> tuple[Record, dict[str, bytes], bytes]:
    """What `write_identity` takes."""
    key = make_key()
    issued = by.issue_agent(pem(signing_request(load_key(key))), agent, NOW)
    files = {KEY: key, CERTIFICATE: issued.pem.encode(), AUTHORITY: by.certificate_pem.encode()}
    facts = check_certificate(files[CERTIFICATE], key, files[AUTHORITY])
    record = Record(
        agent=agent,
        area=AREA,
        broker="mqtts://127.0.0.1",
        api="https://127.0.0.1",
        issued=facts.issued,
        expires=facts.expires,
        authority_key=facts.authority_key,
    )
    return record, files, document(by, COMMAND_KEY, number=number)


def write(state: Path, by: Authority, agent: str = "box") -> Identity:
    return write_identity(state, *parts(by, agent))


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path / "authority")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


def test_a_box_that_was_never_enrolled_has_no_identity(state: Path) -> None:
    assert read_identity(state) is None


def test_what_was_written_is_read_again_and_only_its_owner_can_read_it(state: Path, signer: Authority) -> None:
    write_key(state, make_key())
    written = write(state, signer)
    found = read_identity(state)
    assert found is not None
    assert (found.agent, found.record, found.command_keys) == (written.agent, written.record, written.command_keys)
    assert found.expires - found.record.issued == timedelta(days=365, hours=1)
    assert read_key(state) is None
    present = (state / "identity").resolve()
    assert stat.S_IMODE(present.stat().st_mode) == 0o700
    assert {path.name for path in present.iterdir()} == {KEY, CERTIFICATE, AUTHORITY, RECORD, COMMAND_KEYS}
    assert {stat.S_IMODE(path.stat().st_mode) for path in present.iterdir()} == {0o600}
    assert "BEGIN" not in repr(found)


def test_a_second_identity_takes_the_place_of_the_first_and_leaves_nothing_of_it(
    state: Path, signer: Authority
) -> None:
    write(state, signer, "first")
    first = (state / "identity").resolve()
    assert write(state, signer, "second").agent == "second"
    assert not first.exists()
    assert len(list(state.iterdir())) == 2


def test_newer_command_keys_change_alone(state: Path, signer: Authority) -> None:
    write(state, signer)
    write_command_keys(state, document(signer, COMMAND_KEY, NEXT_KEY, number=7, until=NOW))
    found = read_identity(state)
    assert found is not None
    assert (found.command_keys.number, len(found.command_keys.keys)) == (7, 2)


@pytest.mark.parametrize("name", [KEY, CERTIFICATE, AUTHORITY])
def test_a_file_that_is_not_the_one_that_was_written_is_refused(state: Path, signer: Authority, name: str) -> None:
    write(state, signer)
    other = parts(signer)[1]
    content = b"-----BEGIN nothing" if name == AUTHORITY else other[name]
    (state / "identity" / name).write_bytes(content)
    with pytest.raises(InvalidIdentity, match="not the file that was written"):
        read_identity(state)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (RECORD, b"{", "damaged"),
        (RECORD, b"{}", "damaged"),
        (COMMAND_KEYS, b"{}", "command_keys.json"),
        (CERTIFICATE, b"x" * 40_000, "longer than"),
    ],
)
def test_a_damaged_identity_says_what_to_do(
    state: Path, signer: Authority, name: str, content: bytes, reason: str
) -> None:
    write(state, signer)
    (state / "identity" / name).write_bytes(content)
    with pytest.raises(InvalidIdentity, match=f"{reason}.*enrol this box again"):
        read_identity(state)


def test_a_missing_file_is_named(state: Path, signer: Authority) -> None:
    write(state, signer)
    (state / "identity" / CERTIFICATE).unlink()
    with pytest.raises(InvalidIdentity, match=r"agent\.pem is missing"):
        read_identity(state)


def test_a_key_that_others_can_read_is_refused(state: Path, signer: Authority) -> None:
    write(state, signer)
    (state / "identity" / KEY).chmod(0o640)
    with pytest.raises(InvalidIdentity, match="others can read this key"):
        read_identity(state)


def test_command_keys_of_another_authority_are_refused(tmp_path: Path, state: Path, signer: Authority) -> None:
    write(state, signer)
    write_command_keys(state, document(authority(tmp_path / "other"), COMMAND_KEY, number=9))
    with pytest.raises(InvalidIdentity, match="not signed by the collector's authority"):
        read_identity(state)


def killed(line: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that ends, as by SIGKILL, before the given line of `folder.py`; return whether it got so far."""
    child = os.fork()
    if child == 0:
        left = line

        def trace(frame: FrameType, event: str, argument: object) -> object:
            nonlocal left
            if frame.f_code.co_filename != folder.__file__:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os._exit(9)
            return trace

        try:
            sys.settrace(trace)  # type: ignore[arg-type]
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, 9}
    return code == 9


def test_a_kill_at_any_line_leaves_the_old_identity_or_the_new_one(state: Path, signer: Authority) -> None:
    write(state, signer, "old")
    agents = ["old"]
    for line in itertools.count():
        name = f"new-{line}"
        ended = killed(line, partial(write_identity, state, *parts(signer, name)))
        found = read_identity(state)
        assert found is not None
        assert found.agent in {agents[-1], name}
        check_certificate(found.certificate_file.read_bytes(), found.key_file.read_bytes(), found.ca_file.read_bytes())
        agents.append(found.agent)
        if not ended:
            break
    # Kills before and after the rename were met, and what they left behind is gone.
    assert agents.count("old") > 20
    assert len(set(agents)) > 20
    assert (state / "identity").is_symlink()
    assert len(list(state.iterdir())) == 2


def test_a_kill_at_any_line_leaves_the_old_command_keys_or_the_new_ones(state: Path, signer: Authority) -> None:
    write(state, signer)
    numbers = [1]
    for line in itertools.count():
        number = numbers[-1] + 1
        ended = killed(line, partial(write_command_keys, state, document(signer, NEXT_KEY, number=number)))
        found = read_identity(state)
        assert found is not None
        assert found.command_keys.number in {numbers[-1], number}
        numbers.append(found.command_keys.number)
        if not ended:
            break
    assert numbers.count(1) > 5
    assert numbers[-1] > 3


def test_a_kill_at_any_line_leaves_a_whole_key_or_none(state: Path) -> None:
    keys: list[bytes | None] = [None]
    for line in itertools.count():
        key = make_key()
        ended = killed(line, partial(write_key, state, key))
        assert read_key(state) in {keys[-1], key}
        keys.append(read_key(state))
        if not ended:
            break
    assert keys.count(None) > 5
    assert len(set(keys)) > 3
