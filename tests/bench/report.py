"""The report as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.bench.rows import ROWS, Target


def heading(report: Mapping[str, Any]) -> str:
    """Date, machine and versions in three lines."""
    machine = report["machine"]
    when = f"{report['date']}{', quick' if report['quick'] else ''}"
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB"
    software = f"{machine['os']}, Linux {machine['kernel']}, Python {machine['python']}"
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return f"{when}\n{hardware}, {software}\n{versions}"


def figures_table(result: Mapping[str, Any]) -> str:
    """Every figure of a row on a line of its own: its path, and what it is."""
    leaves = list(_leaves(result, ""))
    width = max((len(path) for path, _ in leaves), default=0)
    return "\n".join(f"  {path:{width}}  {_text(value)}" for path, value in leaves)


def targets_table(results: Mapping[str, Mapping[str, Any]], not_measured: Mapping[str, str]) -> str:
    """Each target with its figure and its verdict."""
    lines = [("row", "figure", "measured", "target", "verdict")]
    for name, result in results.items():
        lines += [_verdict(name, target, result) for target in ROWS[name].targets]
    lines += [(name, reason, "-", "-", "not measured") for name, reason in not_measured.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def figure_at(result: Mapping[str, Any], path: str) -> float | None:
    """Return the figure at a path of keys joined by dots, or None."""
    found: Any = result
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return float(found) if isinstance(found, (int, float)) else None


def _verdict(row: str, target: Target, result: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    figure = figure_at(result, target.path)
    limit = f"{'≥' if target.at_least else '≤'} {target.limit:,g}"
    if figure is None:
        return row, target.meaning, "-", limit, "not measured"
    return row, target.meaning, _text(figure), limit, "met" if target.met_by(figure) else "missed"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return " · ".join(_text(item) for item in value)
    return str(value)
