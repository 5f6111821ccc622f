"""The lock file: exact versions with hashes, in the form that `pip --require-hashes` reads. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+))?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class Locked(NamedTuple):
    """One package of the lock; `marker` says where it is installed, None everywhere."""

    name: str
    version: Version
    marker: Marker | None

    @property
    def here(self) -> bool:
        """Whether this environment is one of those that have it."""
        return self.marker is None or self.marker.evaluate()


def read_lock(text: str) -> tuple[list[Locked], list[str]]:
    """Return the packages of a lock file, and what is wrong with it: no hash, an address, an option, a package twice."""
    found: dict[str, Locked] = {}
    problems: list[str] = []
    for line in _logical_lines(text):
        entry, *hashes = (part.strip() for part in re.split(r"\s+(?=--)", line))
        match = _ENTRY.fullmatch(entry)
        if match is None:
            problems.append(f"not a version of a package: {entry[:80]}")
            continue
        name = canonicalize_name(match["name"])
        try:
            locked = Locked(name, Version(match["version"]), Marker(match["marker"]) if match["marker"] else None)
        except (InvalidVersion, InvalidMarker) as error:
            problems.append(f"{name}: {error}")
            continue
        if not hashes or not all(_HASH.fullmatch(one) for one in hashes):
            problems.append(f"{name}: needs hashes (sha256) and nothing else")
        if name in found:
            problems.append(f"{name}: stands twice")
        found[name] = locked
    return list(found.values()), problems


def compare_with_project(locked: Iterable[Locked], project: Mapping[str, Any]) -> list[str]:
    """Return which requirements of a `pyproject.toml`, all extras and groups included, the lock does not meet."""
    versions = {one.name: one.version for one in locked}
    table = project["project"]
    own = canonicalize_name(table["name"])
    wanted = [*table.get("dependencies", [])]
    for extra in table.get("optional-dependencies", {}).values():
        wanted += extra
    for group in project.get("dependency-groups", {}).values():
        wanted += [entry for entry in group if isinstance(entry, str)]
    problems = []
    for text in wanted:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            problems.append(f"pyproject.toml: {text[:80]}: {error}")
            continue
        name = canonicalize_name(requirement.name)
        if requirement.url:
            problems.append(f"pyproject.toml: {name} comes from an address")
        elif name == own:
            continue
        elif name not in versions:
            problems.append(f"{name}: in pyproject.toml and not in the lock")
        elif not requirement.specifier.contains(versions[name], prereleases=True):
            problems.append(f"{name}: locked {versions[name]}, pyproject.toml wants {requirement.specifier}")
    return problems


def compare_with_installed(locked: Iterable[Locked], installed: Mapping[str, str], own: str) -> list[str]:
    """Return where the installed versions differ from the lock; `installed` maps canonical names to versions, `own` is our own package."""
    here = {one.name: one.version for one in locked if one.here}
    # The installers themselves come with the environment.
    extra = sorted(set(installed) - set(here) - {own, "pip", "setuptools", "wheel", "uv"})
    problems = [f"{name} {installed[name]}: installed and not in the lock" for name in extra]
    for name, version in here.items():
        if name not in installed:
            problems.append(f"{name}: locked and not installed")
        elif Version(installed[name]) != version:
            problems.append(f"{name}: locked {version}, installed {installed[name]}")
    return problems


def _logical_lines(text: str) -> Iterable[str]:
    joined = re.sub(r"\\\s*\n", " ", text)
    for raw in joined.splitlines():
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if line:
            yield line
