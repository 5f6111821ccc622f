"""One key follows another: whatever happens in between, the collector signs with a key that its agents know."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.collector.kit import T0
from village_collector.data_dir import DataDirProblem
from village_collector.trust.authority import Authority, load_authority
from village_collector.trust.command_keys import (
    GRACE,
    MAX_OVERLAP,
    KeyRing,
    RotationRefused,
    load_command_key,
    load_ring,
    rotate,
    settle,
)
from village_collector.trust.key_files import key_pem
from village_wire.command_keys import CommandKeys, read_command_keys
from village_wire.signed import encode_public_key

DAY = timedelta(days=1)
WEEK = 7 * DAY
END = T0 + WEEK + GRACE
OPERATIONS = ("rename", "link", "unlink", "fsync", "fchmod")


class Stop(BaseException):
    """The power went."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.mkdir()
    load_command_key(made)
    return made


@pytest.fixture
def authority(folder: Path) -> Authority:
    return load_authority(folder, make=True)


def text(key: Ed25519PrivateKey) -> str:
    return encode_public_key(key.public_key())


def document(ring: KeyRing, authority: Authority) -> CommandKeys:
    """What an agent makes of it."""
    read = read_command_keys(ring.payload, authority.key.public_key())
    assert read == ring.document
    return read


def test_without_a_rotation_there_is_one_key_under_number_one(folder: Path, authority: Authority) -> None:
    key = load_command_key(folder)
    ring = settle(folder, authority, T0)
    (only,) = document(ring, authority).keys
    assert (ring.document.number, only.key, only.until) == (1, text(key), None)
    assert text(ring.signer(T0)) == text(key)
    assert settle(folder, authority, T0).signed == ring.signed, "the document on disk stays"


def test_the_old_key_signs_for_the_overlap_and_counts_a_little_longer(folder: Path, authority: Authority) -> None:
    old = load_command_key(folder)
    ring = rotate(folder, authority, T0, WEEK)
    first, second = document(ring, authority).keys
    assert (ring.document.number, first.key, first.until, second.until) == (2, text(old), END, None)
    for moment, signs in ((T0, first), (T0 + WEEK - DAY, first), (T0 + WEEK, second), (END, second)):
        assert text(ring.signer(moment)) == signs.key
        assert text(load_ring(folder, authority, moment).signer(moment)) == signs.key
    assert settle(folder, authority, END - timedelta(seconds=1)).document.number == 2
    last = settle(folder, authority, END)
    assert document(last, authority).number == 3
    assert [key.key for key in last.document.keys] == [second.key]
    assert text(load_command_key(folder)) == second.key
    assert (folder / "command_key.pub").read_text().strip() == second.key
    assert not (folder / "command_key.next").exists()
    assert rotate(folder, authority, END + DAY).document.number == 4


def test_a_key_in_wrong_hands_is_out_at_once(folder: Path, authority: Authority) -> None:
    old = load_command_key(folder)
    ring = rotate(folder, authority, T0, compromised=True)
    assert ring.document.number == 2
    assert [key.key for key in document(ring, authority).keys] == [text(ring.signer(T0))]
    assert text(ring.signer(T0)) != text(old)
    assert text(load_command_key(folder)) == text(ring.signer(T0))


def test_a_rotation_under_way_can_be_ended_only_by_a_key_that_nobody_has_seen(
    folder: Path, authority: Authority
) -> None:
    first = rotate(folder, authority, T0, WEEK)
    seen = {key.key for key in first.document.keys}
    with pytest.raises(RotationRefused, match=r"under way: .* 2026-12-01 09:05 UTC; wait"):
        rotate(folder, authority, T0 + DAY, WEEK)
    assert load_ring(folder, authority, T0 + DAY).signed == first.signed
    last = rotate(folder, authority, T0 + DAY, compromised=True)
    (only,) = last.document.keys
    assert only.key not in seen
    assert last.document.number > first.document.number


@pytest.mark.parametrize("overlap", [timedelta(0), -DAY, MAX_OVERLAP + DAY])
def test_the_overlap_has_limits(folder: Path, authority: Authority, overlap: timedelta) -> None:
    with pytest.raises(RotationRefused, match="at most 90 days"):
        rotate(folder, authority, T0, overlap)


@contextmanager
def stopped_before(number: int) -> Iterator[list[str]]:
    """Let so many operations on files happen, then none; yields those that happened."""
    done: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if len(done) >= number:
                raise Stop
            done.append(name)
            return real(*arguments, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        with suppress(Stop):
            yield done


def _rotate(folder: Path, authority: Authority) -> None:
    rotate(folder, authority, T0, WEEK)


def _compromised(folder: Path, authority: Authority) -> None:
    rotate(folder, authority, T0, compromised=True)


def _compromised_under_way(folder: Path, authority: Authority) -> None:
    rotate(folder, authority, T0 + DAY, compromised=True)


def _switch(folder: Path, authority: Authority) -> None:
    settle(folder, authority, END)


@pytest.mark.parametrize(
    ("step", "begun"), [(_rotate, False), (_compromised, False), (_compromised_under_way, True), (_switch, True)]
)
def test_a_stop_at_any_moment_leaves_a_collector_that_agents_obey(
    tmp_path: Path, folder: Path, authority: Authority, step: Callable[[Path, Authority], None], begun: bool
) -> None:
    """The power goes before each single operation on a file; each time the folder is then used as it was left."""
    settle(folder, authority, T0)
    if begun:
        rotate(folder, authority, T0, WEEK)
    before = load_ring(folder, authority, T0 + DAY)
    stops = 0
    while True:
        copy = tmp_path / f"stopped-{stops}"
        shutil.copytree(folder, copy)
        with stopped_before(stops) as done:
            step(copy, authority)
        if len(done) < stops:
            break
        stops += 1
        handed_out = before.document
        for moment in (T0 + DAY, END - timedelta(seconds=1), END, END + 2 * WEEK):
            ring = settle(copy, authority, moment)
            told = document(ring, authority)
            assert told.number >= handed_out.number
            if told.number == handed_out.number:
                assert told == handed_out, "one number, one document"
            handed_out = told
            signs = text(ring.signer(moment))
            assert signs in {key.key for key in told.keys if key.until is None or moment < key.until}
        assert len(handed_out.keys) == 1
        assert text(load_command_key(copy)) == handed_out.keys[0].key
        rotated = rotate(copy, authority, END + 3 * WEEK)
        assert rotated.document.number == handed_out.number + 1
        assert (copy / "command_key.next").stat().st_mode & 0o777 == 0o600
    assert stops > 5


def test_other_collectors_follow_with_copies_that_they_cannot_write(folder: Path, authority: Authority) -> None:
    """The lock can't be made where a folder stands on a disk that is read only; here a folder of its name is in the way."""
    rotate(folder, authority, T0, WEEK)
    (folder / "command_keys.lock").unlink()
    (folder / "command_keys.lock").mkdir()
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    early, late = settle(folder, authority, T0), settle(folder, authority, END)
    assert (early.document.number, late.document.number) == (2, 3)
    assert text(late.signer(END)) == early.document.keys[1].key
    assert files == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(DataDirProblem, match="Is a directory"):
        rotate(folder, authority, END)


def test_half_of_a_copy_is_named(folder: Path, authority: Authority) -> None:
    rotate(folder, authority, T0, WEEK)
    (folder / "command_key.next").unlink()
    with pytest.raises(DataDirProblem, match="copy all three from the collector on which the keys were rotated"):
        load_ring(folder, authority, T0)


def test_a_document_of_another_authority_is_refused(tmp_path: Path, folder: Path, authority: Authority) -> None:
    settle(folder, authority, T0)
    (tmp_path / "other").mkdir()
    other = load_authority(tmp_path / "other", make=True)
    with pytest.raises(DataDirProblem, match=r"command_keys\.json: not signed by the collector's authority"):
        load_ring(folder, other, T0)


def test_keys_that_others_may_read_are_refused(folder: Path, authority: Authority) -> None:
    rotate(folder, authority, T0)
    (folder / "command_key.next").chmod(0o640)
    with pytest.raises(DataDirProblem, match=r"others may read .*command_key\.next, which opens doors"):
        load_ring(folder, authority, T0)


def test_a_key_that_nobody_named_is_not_used(folder: Path, authority: Authority) -> None:
    key = load_command_key(folder)
    stray = folder / "command_key.next"
    stray.write_bytes(key_pem(Ed25519PrivateKey.generate()))
    stray.chmod(0o600)
    ring = settle(folder, authority, T0)
    assert text(ring.signer(T0 + MAX_OVERLAP)) == text(key)


def test_nothing_secret_shows(folder: Path, authority: Authority) -> None:
    assert "PrivateKey" not in repr(rotate(folder, authority, T0))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_user_is_told_whose_folder_it_is(folder: Path, authority: Authority) -> None:
    os.chown(folder, 1, -1)
    with pytest.raises(RotationRefused, match=r"belongs to daemon.*sudo -u daemon"):
        rotate(folder, authority, T0)
