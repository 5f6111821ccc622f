"""Each guard of this project, shown to catch what it is there for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


def run(program: str, *arguments: str | Path, folder: Path = ROOT, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / program, *arguments], cwd=folder, input=text, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["agent", "collector", "drivers", "wire"])
def test_ruff_refuses_a_folder_as_a_package(name: str) -> None:
    checked = run(
        "ruff", "check", "--select", "TID251", "--stdin-filename", "wire/x.py", "-", text=f"import {name}.x\n"
    )
    assert checked.returncode == 1
    assert "TID251" in checked.stdout


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("wire/village_wire/ids.py", "import village_drivers.kit"),
        ("drivers/village_drivers/kit.py", "import village_agent"),
        ("collector/village_collector/ports.py", "import village_drivers.kit"),
        ("collector/village_cli/times.py", "import village_collector.ports"),
        ("agent/village_agent/app.py", "import aiomqtt"),
        ("drivers/village_drivers/host.py", "import serial"),
        ("wire/village_wire/areas.py", "import time"),
    ],
)
def test_import_linter_refuses_a_wrong_direction(file: str, line: str, tmp_path: Path) -> None:
    for folder in ("wire", "drivers", "agent", "collector"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as module:
        module.write(f"\n{line}\n")
    checked = subprocess.run(
        [PROGRAMS / "lint-imports", "--no-logo", "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(str(tmp_path / folder) for folder in ("wire", "drivers", "agent", "collector"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1, checked.stdout
    assert "0 broken" not in checked.stdout
    assert "BROKEN" in checked.stdout


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("asyncio.create_task(asyncio.sleep(60), name='left')", "tasks left behind: ['left']"),
        ("village_wire.blocking.block()", "BlockingError"),
        ("warnings.warn('old', DeprecationWarning)", "DeprecationWarning"),
    ],
)
def test_pytest_refuses(body: str, complaint: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "test_guarded.py").write_text(
        "import asyncio, sys, time, types, warnings\n"
        "import village_wire\n"
        "village_wire.blocking = types.ModuleType('village_wire.blocking')\n"
        "code = compile('import time\\ndef block():\\n    time.sleep(0.01)', village_wire.__path__[0] + '/b.py', 'exec')\n"
        "exec(code, village_wire.blocking.__dict__)\n"
        f"async def test_it():\n    {body}\n"
    )
    tested = run("pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_guarded.py", folder=tmp_path)
    assert tested.returncode == 1, tested.stdout + tested.stderr
    assert complaint in tested.stdout


def test_a_wheel_installs_our_packages_and_nothing_called_agent(tmp_path: Path) -> None:
    built = run("python", "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    listed = run("python", "-m", "zipfile", "-l", wheel).stdout
    tops = {line.split("/")[0] for line in listed.splitlines()[1:] if not line.startswith("village_edge-")}
    assert tops == {
        "village_agent",
        "village_cli",
        "village_collector",
        "village_drivers",
        "village_emulators",
        "village_wire",
    }


def test_the_lock_has_hashes_and_names_no_address() -> None:
    lock = (ROOT / "deploy" / "requirements.lock").read_text()
    pins = [line for line in lock.splitlines() if "==" in line]
    assert len(pins) > 50
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "://" not in lock
    assert "index-url" not in lock


def test_every_test_folder_is_a_package() -> None:
    tests = ROOT / "tests"
    folders = {path.parent for path in tests.rglob("test_*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
