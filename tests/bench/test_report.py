"""The verdicts of a report, and what the program says of rows that can't be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as program
from tests.bench.report import figure_at, figures_table, targets_table
from tests.bench.rows import ROWS, NotMeasured, Row, Target


def test_figures_are_found_by_path() -> None:
    result = {"100": {"ratio": 0.4, "text": "x"}}
    assert figure_at(result, "100.ratio") == 0.4
    assert figure_at(result, "100.text") is None
    assert figure_at(result, "10.ratio") is None
    assert figures_table({"a": {"b": 12345, "c": [1.5, 2]}}).split() == ["a.b", "12,345", "a.c", "1.5", "·", "2"]


def test_a_missed_target_is_called_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = (Target("a", 1.0, "small"), Target("b", 1.0, "large", at_least=True), Target("c", 1.0, "gone"))
    monkeypatch.setattr("tests.bench.report.ROWS", {"x": Row("m", "f", "what", targets)})
    lines = targets_table({"x": {"a": 1.1, "b": 1.1}}, {"y": "no broker"}).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["missed", "met", "measured", "measured"]
    assert "no broker" in lines[-1]


def test_a_row_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {name: Row("test_report", name, name) for name in ("_works", "_absent", "_breaks")}
    monkeypatch.setattr(program, "ROWS", rows)
    monkeypatch.setattr("tests.bench.report.ROWS", rows)
    assert program.main(["_absent", "_breaks", "_works", "--json", str(tmp_path / "r.json")]) == 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["_works"] == {"a": {"b": 1}}
    assert report["not_measured"] == {"_absent": "install it", "_breaks": "ValueError: oh"}
    assert {"cpu", "cores", "memory_gb", "os", "python"} <= report["machine"].keys()
    assert "_works: _works" in capsys.readouterr().out


def test_every_row_can_be_imported() -> None:
    for row in ROWS.values():
        assert callable(row.measure())


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["nonsense"])
    assert ended.value.code == 2


def _works(quick: bool, say: object) -> dict[str, object]:
    return {"a": {"b": 1}}


def _absent(quick: bool, say: object) -> dict[str, object]:
    raise NotMeasured("install it")


def _breaks(quick: bool, say: object) -> dict[str, object]:
    raise ValueError("oh")
