"""Check the lock against itself, the project, what is installed, and known vulnerabilities.

    python -m village_audit ROOT

`VILLAGE_ADVISORIES` names a folder of OSV records for PyPI (JSON, searched with its subfolders). Exit code 0 when all is well.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from village_audit.advisories import find
from village_audit.lock import Locked, compare_with_installed, compare_with_project, read_lock


def audit(root: Path, advisories: Path | None, installed: dict[str, str]) -> tuple[list[str], str]:
    """Return what is wrong, and what was looked at."""
    lock, problems = read_lock((root / "deploy" / "requirements.lock").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())
    problems += compare_with_project(lock, project)
    problems += compare_with_installed(lock, installed, canonicalize_name(project["project"]["name"]))
    here = sum(one.here for one in lock)
    seen = f"{len(lock)} packages locked, {here} of them for this machine"
    if advisories is None:
        return problems, f"{seen}; vulnerabilities not looked for: VILLAGE_ADVISORIES names no folder of OSV records"
    count, more = _known(advisories, lock)
    return problems + more, f"{seen}; looked for in {count} records of vulnerabilities"


def _known(folder: Path, lock: list[Locked]) -> tuple[int, list[str]]:
    problems = []
    count = 0
    for path in sorted(folder.rglob("*.json")):
        try:
            problems += [str(one) for one in find(json.loads(path.read_bytes()), lock)]
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            problems.append(f"{path}: not an OSV record: {error!r}")
        count += 1
    if not count:
        problems.append(f"{folder}: no OSV record (*.json) there")
    return count, problems


def main() -> int:
    """Print what is wrong; the exit code is 0 when nothing is."""
    folder = os.environ.get("VILLAGE_ADVISORIES")
    installed: dict[str, str] = {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}
    problems, seen = audit(Path(sys.argv[1]), Path(folder) if folder else None, installed)
    for problem in problems:
        print(problem)
    print(f"dependencies: {seen}; {len(problems) or 'nothing'} to mend", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
