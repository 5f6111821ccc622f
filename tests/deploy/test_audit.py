"""The audit of dependencies on made-up locks, projects and records, and on the real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from village_audit.__main__ import audit
from village_audit.advisories import find
from village_audit.lock import Locked, compare_with_installed, compare_with_project, read_lock

ROOT = Path(__file__).parents[2]
HASH = f"--hash=sha256:{'a' * 64}"
LOCK = f"""Some.Thing==1.2.3 \\
    {HASH} \\
    {HASH}
    # via other
other==2.0 ; sys_platform == 'win32' \\
    {HASH}
"""
PROJECT: dict[str, Any] = {
    "project": {
        "name": "Our-Own",
        "dependencies": ["some-thing>=1,<2"],
        "optional-dependencies": {"x": ["our-own[y]", "other; sys_platform == 'win32'"]},
    },
    "dependency-groups": {"dev": [{"include-group": "z"}]},
}


def record(**affected: Any) -> dict[str, Any]:
    place = {"package": {"ecosystem": "PyPI", "name": "some_thing"}, **affected}
    return {"id": "PYSEC-1", "summary": "Reads\nwhat it should not", "affected": [place]}


def ranged(*events: dict[str, str]) -> dict[str, Any]:
    return record(ranges=[{"type": "ECOSYSTEM", "events": list(events)}])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "our-own"\ndependencies = ["some-thing>=1,<2"]\n')
    return tmp_path


def test_a_good_lock() -> None:
    lock, problems = read_lock(LOCK)
    assert problems == []
    assert [(one.name, str(one.version), one.here) for one in lock] == [
        ("some-thing", "1.2.3", True),
        ("other", "2.0", False),
    ]
    assert compare_with_project(lock, PROJECT) == []
    assert compare_with_installed(lock, {"some-thing": "1.2.3", "our-own": "0.1", "pip": "26"}, "our-own") == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("bad==1.0", "bad: needs hashes"),
        ("bad==1.0 --hash=sha256:123", "bad: needs hashes"),
        (f"bad==1.0 --hash=md5:{'a' * 32}", "bad: needs hashes"),
        (f"bad==1.0 {HASH} --index-url=https://example.org", "bad: needs hashes"),
        (f"bad>=1.0 {HASH}", "not a version of a package"),
        (f"bad @ https://example.org/bad.whl {HASH}", "not a version of a package"),
        ("--extra-index-url https://example.org", "not a version of a package"),
        ("-r other.txt", "not a version of a package"),
        (f"some_thing==1.2.3 {HASH}", "some-thing: stands twice"),
        (f"bad==x {HASH}", "bad: Invalid version"),
    ],
)
def test_a_bad_line_is_named(line: str, problem: str) -> None:
    _, problems = read_lock(LOCK + line + "\n")
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_lock_that_does_not_fit_the_project_or_the_environment() -> None:
    lock, _ = read_lock(LOCK)
    assert compare_with_project(
        lock, {"project": {"name": "x", "dependencies": ["some-thing>=2", "absent", "a @ https://b.c/d"]}}
    ) == [
        "some-thing: locked 1.2.3, pyproject.toml wants >=2",
        "absent: in pyproject.toml and not in the lock",
        "pyproject.toml: a comes from an address",
    ]
    assert compare_with_installed(lock, {"some-thing": "1.2.4", "stray": "1"}, "x") == [
        "stray 1: installed and not in the lock",
        "some-thing: locked 1.2.3, installed 1.2.4",
    ]
    assert compare_with_installed(lock, {}, "x") == ["some-thing: locked and not installed"]


@pytest.mark.parametrize(
    ("found", "affected"),
    [
        (ranged({"introduced": "0"}), True),
        (ranged({"introduced": "0"}, {"fixed": "1.2.3"}), False),
        (ranged({"introduced": "0"}, {"fixed": "1.2.4"}), True),
        (ranged({"introduced": "1.2.4"}), False),
        (ranged({"introduced": "1.2.3"}, {"last_affected": "1.2.3"}), True),
        (ranged({"introduced": "1.0"}, {"last_affected": "1.2.2"}), False),
        (ranged({"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.2"}, {"fixed": "1.3"}), True),
        (ranged({"introduced": "1.2"}, {"fixed": "1.3"}, {"introduced": "0"}, {"fixed": "1.0"}), True),
        (record(versions=["1.2.2", "1.2.3"]), True),
        (record(versions=["1.2.2", "not a version"]), False),
        (record(ranges=[{"type": "GIT", "events": [{"introduced": "0"}]}]), False),
        ({**ranged({"introduced": "0"}), "withdrawn": "2026-01-01T00:00:00Z"}, False),
        (
            {"id": "X", "affected": [{"package": {"ecosystem": "npm", "name": "some-thing"}, "versions": ["1.2.3"]}]},
            False,
        ),
        ({"id": "X"}, False),
    ],
)
def test_records_of_vulnerabilities(found: dict[str, Any], affected: bool) -> None:
    lock = [Locked("some-thing", Version("1.2.3"), None)]
    assert [one.id for one in find(found, lock)] == (["PYSEC-1"] if affected else [])


def test_an_advisory_says_what_to_do() -> None:
    lock = [Locked("some-thing", Version("1.2.3"), None)]
    events = ({"introduced": "0"}, {"fixed": "1.2.4"}, {"introduced": "1.3"}, {"fixed": "1.3.1"})
    assert [str(one) for one in find(ranged(*events), lock)] == ["some-thing 1.2.3: PYSEC-1 (mended in 1.2.4) Reads"]
    (found,) = find(record(versions=["1.2.3"]), lock)
    assert "no version without it is known" in str(found)


def test_a_folder_of_records(root: Path) -> None:
    installed = {"some-thing": "1.2.3"}
    problems, seen = audit(root, None, installed)
    assert (problems, "not looked for" in seen) == ([], True)
    folder = root / "osv"
    folder.mkdir()
    assert audit(root, folder, installed)[0] == [f"{folder}: no OSV record (*.json) there"]
    (folder / "PyPI").mkdir()
    (folder / "PyPI" / "a.json").write_text(json.dumps(ranged({"introduced": "0"})))
    (folder / "b.json").write_text("[]")
    problems, seen = audit(root, folder, installed)
    assert "2 records" in seen
    assert [problem.partition(":")[0] for problem in problems] == ["some-thing 1.2.3", str(folder / "b.json")] or [
        problem.partition(":")[0] for problem in problems
    ] == [str(folder / "b.json"), "some-thing 1.2.3"]


def test_our_own_lock_fits_the_project() -> None:
    lock, problems = read_lock((ROOT / "deploy" / "requirements.lock").read_text())
    assert problems == []
    assert len(lock) > 50


def test_the_program_tells_by_its_exit_code(root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "deploy"), "VILLAGE_ADVISORIES": ""}
    run = subprocess.run(
        [sys.executable, "-m", "village_audit", str(root)], env=environment, capture_output=True, text=True, check=False
    )
    # Whatever is installed here is not in the made-up lock.
    assert run.returncode == 1
    assert "some-thing: locked and not installed" in run.stdout
    assert "vulnerabilities not looked for" in run.stderr
