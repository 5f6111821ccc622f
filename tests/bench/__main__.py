"""`python -m tests.bench [ROW…] [--quick] [--json FILE] [--list]`: measure rows, print them, write them as JSON.

Exit code 0 when all rows were measured (targets met or not), 1 when one could not be, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.bench.machine import machine, versions
from tests.bench.report import figures_table, heading, targets_table
from tests.bench.rows import ROWS, NotMeasured

SCHEMA = "village.bench/1"


def main(words: Sequence[str] | None = None) -> int:
    """Run with the given arguments, by default the process's own; return the exit code."""
    options = _arguments(words)
    if options.list:
        for name, row in ROWS.items():
            sys.stdout.write(f"{name:15} {row.what}\n")
        return 0
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine(),
        "versions": versions(),
    }
    sys.stdout.write(heading(report) + "\n")
    not_measured: dict[str, str] = {}
    for name in options.rows or ROWS:
        result = _measure(name, options.quick, not_measured)
        if result is not None:
            report[name] = result
            sys.stdout.write(f"\n{name}: {ROWS[name].what}\n{figures_table(result)}\n")
            sys.stdout.flush()
        _write(options.json, {**report, "not_measured": not_measured})
    sys.stdout.write(f"\n{targets_table({name: report[name] for name in ROWS if name in report}, not_measured)}\n")
    if options.quick:
        sys.stdout.write("Measured quickly: the figures are rough.\n")
    return 1 if not_measured else 0


def _measure(name: str, quick: bool, not_measured: dict[str, str]) -> dict[str, Any] | None:
    def say(text: str) -> None:
        sys.stderr.write(f"  {name}: {text}\n")
        sys.stderr.flush()

    started = time.monotonic()
    try:
        result = ROWS[name].measure()(quick, say)
    except (NotMeasured, pytest.skip.Exception, pytest.fail.Exception) as reason:
        not_measured[name] = str(reason)
    except Exception as error:  # noqa: BLE001 - one row must not end the others
        traceback.print_exc()
        not_measured[name] = f"{type(error).__name__}: {error}"
    else:
        say(f"measured in {time.monotonic() - started:.0f} s")
        return result
    say(f"not measured: {not_measured[name]}")
    return None


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("deploy/bench", description="Measure, and say honestly which targets are met.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of {', '.join(ROWS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; rough figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    options = parser.parse_args(words)
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
