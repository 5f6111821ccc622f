"""`python -m tests.faults`: break a village under load and compare what was produced with what is stored.

A simulation of days on bad links adds how often a living agent would be called gone.

Exit code 0 when nothing is lost, doubled or late, 1 when something is, 2 for wrong arguments, 3 when a program is absent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.machine import machine
from tests.faults.false_offline import Counts, simulate
from tests.faults.plan import LENGTHS
from tests.faults.run import Options, Outcome, run
from tests.faults.village import Absent, find

SCHEMA = "village.faults/1"
#: Of a run's minutes, so much is kept for the start, the recovery and the comparison.
_REST_SECONDS, _QUICK_REST_SECONDS = 120.0, 45.0
_QUICK_SECONDS = 90.0
_INTERVAL, _QUICK_INTERVAL = 3.5, 2.2
_SHOWN = 20


def main(words: Sequence[str] | None = None) -> int:
    """Run with the given arguments, by default the process's own; return the exit code."""
    options = _arguments(words)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    begin = datetime.now(UTC)
    with (
        nullcontext(str(options.keep))
        if options.keep
        else tempfile.TemporaryDirectory(prefix="village-faults-") as name
    ):
        folder = Path(name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()

        def say(text: str) -> None:
            print(text, flush=True)

        try:
            outcome = asyncio.run(run(_options(options, seed, folder), say))
        except Absent as error:
            print(error, file=sys.stderr)
            return 3
        seconds = time.monotonic() - started
    days, agents = (2.0, 10) if options.quick else (7.0, 50)
    alarms = simulate(days, agents, seed)
    ok, verdict = _verdict(outcome, alarms, seed)
    for kind, text in outcome.verdict.findings[:_SHOWN]:
        print(f"{kind.upper()}: {text}")
    if len(outcome.verdict.findings) > _SHOWN:
        print(f"… and {len(outcome.verdict.findings) - _SHOWN} more")
    for heading, count in _rows(outcome, alarms):
        print(f"{heading:32} {count}")
    report = _report(outcome, seed, begin, seconds) | {"ok": ok, "verdict": verdict, "false_offline": asdict(alarms)}
    if options.json is not None:
        options.json.write_text(f"{json.dumps(report, ensure_ascii=False, indent=2)}\n")
    print(verdict, flush=True)
    return 0 if ok else 1


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="deploy/faults",
        description="Break a village under load and compare what was produced with what is stored. "
        "在负载下破坏一个村庄，再逐条比对产生的与存储的数据。",
        epilog="Examples: deploy/faults    deploy/faults --quick --seed 42    deploy/faults --minutes 60 --json faults.json",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the whole run, 3 or more 总时长（分钟）")
    parser.add_argument("--quick", action="store_true", help="about 90 seconds 约 90 秒")
    parser.add_argument("--seed", type=int, help="the same seed gives the same plan of faults 随机种子")
    parser.add_argument(
        "--store", choices=("influx", "sqlite"), help="telemetry store; default: influx if it is there 遥测存储"
    )
    parser.add_argument(
        "--link", choices=("auto", "namespace", "proxy"), default="auto", help="how links are cut 断网方式"
    )
    parser.add_argument(
        "--without", action="append", default=[], choices=LENGTHS, help="leave out a kind of fault 排除某类故障"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there 结果写入文件")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and databases there 保留日志和数据库")
    options = parser.parse_args(words)
    if options.minutes < 3 and not options.quick:
        parser.error("--minutes is 3 or more. 总时长至少 3 分钟。")
    if options.keep is not None and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} is not empty. 目录非空。")
    return options


def _options(options: argparse.Namespace, seed: int, folder: Path) -> Options:
    store = options.store or ("influx" if find("influxd") else "sqlite")
    if options.quick:
        load, recovery, interval = _QUICK_SECONDS - _QUICK_REST_SECONDS, 30.0, _QUICK_INTERVAL
    else:
        load, recovery, interval = options.minutes * 60 - _REST_SECONDS, 90.0, _INTERVAL
    return Options(seed, load, recovery, interval, store, options.link, frozenset(options.without), folder)


def _rows(outcome: Outcome, alarms: Counts) -> list[tuple[str, str]]:
    rows = [(name, str(count)) for name, count in outcome.verdict.counts.items()]
    rows += [(f"faults: {kind}", str(count)) for kind, count in sorted(outcome.faults.items())]
    rows += [(kind, str(count)) for kind, count in outcome.verdict.totals.items()]
    latency = outcome.card_to_lock
    if "p99" in latency:
        text = f"p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms of {latency['n']:.0f}"
        rows.append(("card to lock, no fault near", text))
    rows.append(("recovery", f"{outcome.recovery_seconds:.1f} s"))
    simulated = f"{alarms.false_offline} in {alarms.agents * alarms.days:.0f} simulated agent-days with {alarms.outages} outages"
    rows.append(("false offline", f"{simulated}; without hysteresis {alarms.naive_false_offline}"))
    rows.append(("offline not noticed", str(alarms.missed)))
    return rows


def _verdict(outcome: Outcome, alarms: Counts, seed: int) -> tuple[bool, str]:
    totals, counts = outcome.verdict.totals, outcome.verdict.counts
    ok = not outcome.verdict.findings and not alarms.false_offline and not alarms.missed
    events, commands = counts["events stored"], counts.get("commands sent", 0)
    breaches = ", ".join(f"{count} {kind}" for kind, count in totals.items())
    return ok, (
        f"{'OK' if ok else 'FAILED'}: {breaches} of {events} events, {counts['readings produced']} readings and"
        f" {commands} commands, {sum(outcome.faults.values())} faults, seed {seed}"
    )


def _report(outcome: Outcome, seed: int, begin: datetime, seconds: float) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "seed": seed,
        "date": begin.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": machine(),
        "means": outcome.means,
        "counts": outcome.verdict.counts,
        "breaches": outcome.verdict.totals,
        "findings": [{"kind": kind, "text": text} for kind, text in outcome.verdict.findings],
        "faults": outcome.faults,
        "card_to_lock_ms": outcome.card_to_lock,
        "recovery_seconds": round(outcome.recovery_seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
