"""`village-collector command-key` as people and programs use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from village_collector.cli import app


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["command-key", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def shown(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("show", "--json", "--data-dir", str(folder)))
    return document


def test_the_bare_command_prints_the_public_key(tmp_path: Path) -> None:
    key = run("--data-dir", str(tmp_path)).strip()
    assert (tmp_path / "command_key.pub").read_text().strip() == key
    assert run("--data-dir", str(tmp_path)).strip() == key
    assert shown(tmp_path)["keys"] == [{"key": key, "until": None, "signs": True}]


def test_a_rotation_names_both_keys_and_the_moment_of_change(tmp_path: Path) -> None:
    key = run("--data-dir", str(tmp_path)).strip()
    output = run("--data-dir", str(tmp_path), "rotate", "--overlap", "12h")
    document = shown(tmp_path)
    assert [entry["key"] == key for entry in document["keys"]] == [True, False]
    assert [entry["signs"] for entry in document["keys"]] == [True, False]
    assert document["number"] == 2
    for text in (document["switch"], *(entry["key"] for entry in document["keys"])):
        assert text in output
    assert "under way" in run("rotate", "--data-dir", str(tmp_path), code=1)
    assert shown(tmp_path) == document


def test_a_compromised_key_is_out_at_once(tmp_path: Path) -> None:
    key = run("--data-dir", str(tmp_path)).strip()
    assert key not in run("rotate", "--compromised", "--data-dir", str(tmp_path))
    fresh = run("--data-dir", str(tmp_path)).strip()
    assert shown(tmp_path)["keys"] == [{"key": fresh, "until": None, "signs": True}]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--overlap", "soon"), "give a span"),
        (("--overlap", "7d", "--compromised"), "no overlap"),
        (("--overlap", "0d"), "give a span"),
    ],
)
def test_wrong_use_changes_nothing(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    assert why in run("rotate", "--data-dir", str(tmp_path / "d"), *arguments, code=2)
    assert not (tmp_path / "d").exists()


def test_an_overlap_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    assert "at most 90 days" in run("rotate", "--data-dir", str(tmp_path), "--overlap", "13w", code=1)
    assert shown(tmp_path)["number"] == 1


def test_check_tells_of_keys_that_do_not_belong_together(tmp_path: Path) -> None:
    def row() -> str:
        output = CliRunner().invoke(app, ["check", "--data-dir", str(tmp_path)]).output
        return next(line for line in output.splitlines() if " keys " in line)

    assert "made in" in row()
    run("rotate", "--data-dir", str(tmp_path))
    assert row().startswith("ok")
    assert "command keys number 2" in row()
    (tmp_path / "command_key.next").unlink()
    assert row().startswith("down")
    assert "copy all three" in row()


def test_several_collectors_are_told_to_copy(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text('[collector]\nkeys_dir = "keys"\n')
    (tmp_path / "keys").mkdir()
    places = ("--config", str(config), "--data-dir", str(tmp_path / "keys"))
    assert "there is no" in run(*places, code=1)
    run("--data-dir", str(tmp_path / "keys"))
    assert "no ca.key and no ca.pem" in run("rotate", *places, code=1)
    run("show", "--data-dir", str(tmp_path / "keys"))
    assert "keys_dir of each other collector" in run("rotate", *places)
