"""The texts of our Flux: down-sampling and history. Pure.

A down-sampled window is five minutes, stands at its beginning, and holds the mean of numbers (as a float) and the last of booleans.
Writing a window again replaces it, so a pass may be repeated at will.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from village_wire.clocks import format_time
from village_wire.points import KINDS

WINDOW = timedelta(minutes=5)
#: How far each hourly pass looks back, and the one of each night, which takes in what agents delivered late.
RECENT, NIGHTLY = timedelta(hours=3), timedelta(days=8)
#: The last pass over a day comes shortly before its raw readings expire; what is kept longer gets it at this age.
LAST_PASS = timedelta(days=90)
_LAST_SPAN = timedelta(days=3)
#: 19:00 UTC is 3 in the morning in China.
NIGHT_HOUR = 19

_BOOLEANS = sorted({name for fields in KINDS.values() for name, wanted in fields.items() if wanted is bool})


def quote(text: str) -> str:
    """Return a Flux string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${").replace("\n", "\\n")
    return f'"{escaped}"'


def seconds(span: timedelta) -> str:
    """Return a Flux duration literal."""
    return f"{int(span.total_seconds())}s"


def task(name: str, raw: str, downsampled: str, organisation: str, retention: timedelta | None) -> str:
    """Return the script of the task that down-samples `raw`, whose readings expire after `retention` (None: never)."""
    night = min(NIGHTLY, retention) if retention else NIGHTLY
    last = (
        (retention - timedelta(days=1) if retention else LAST_PASS)
        if retention is None or retention > NIGHTLY
        else None
    )
    parts = [
        'import "date"',
        f"option task = {{name: {quote(name)}, every: 1h, offset: 2m}}",
        f"night = date.hour(t: now()) == {NIGHT_HOUR}",
        f"end = date.truncate(t: now(), unit: {seconds(WINDOW)})",
        f"recent = date.sub(from: end, d: if night then {seconds(night)} else {seconds(RECENT)})",
        *_pass("recent", raw, downsampled, organisation, "recent", "end"),
    ]
    if last:
        parts += [
            f"old = date.sub(from: end, d: if night then {seconds(last)} else {seconds(WINDOW)})",
            f"oldEnd = date.add(to: old, d: if night then {seconds(_LAST_SPAN)} else {seconds(WINDOW)})",
            *_pass("old", raw, downsampled, organisation, "old", "oldEnd"),
        ]
    return "\n".join(parts) + "\n"


def fill(raw: str, downsampled: str, organisation: str, start: datetime, end: datetime) -> str:
    """Return a script that down-samples [start, end) once; both are at the full five minutes."""
    return "\n".join(_pass("fill", raw, downsampled, organisation, format_time(start), format_time(end)))


def series(bucket: str, start: datetime, end: datetime, kind: str, agent: str, device: str, field: str) -> str:
    """Return the selection of one field's samples. The texts must be names of ours, as they are not escaped; the bucket is."""
    return (
        f"from(bucket: {quote(bucket)}) |> range(start: {format_time(start)}, stop: {format_time(end)})"
        f' |> filter(fn: (r) => r._measurement == "{kind}" and r.agent == "{agent}" and r.device == "{device}"'
        f' and r._field == "{field}") |> group()'
    )


def joined(old: str, new: str, wanted: type) -> str:
    """Return the selection of `old` and `new` together. Whole numbers become floats, as down-sampled ones are."""
    if wanted is not bool:
        old, new = f"{old} |> toFloat()", f"{new} |> toFloat()"
    columns = 'keep(columns: ["_time", "_value"])'
    return f"union(tables: [{old} |> {columns}, {new} |> {columns}])"


def floor(moment: datetime) -> datetime:
    """Return the beginning of the window that holds `moment`."""
    return moment - (moment - datetime.fromtimestamp(0, moment.tzinfo)) % WINDOW


def _pass(name: str, raw: str, downsampled: str, organisation: str, start: str, end: str) -> list[str]:
    boolean = " or ".join(f'r._field == "{field}"' for field in _BOOLEANS)
    number = " and ".join(f'r._field != "{field}"' for field in _BOOLEANS)
    return [
        f"from(bucket: {quote(raw)}) |> range(start: {start}, stop: {end}) |> filter(fn: (r) => {chosen})"
        f' |> aggregateWindow(every: {seconds(WINDOW)}, fn: {function}, timeSrc: "_start", createEmpty: false)'
        f" |> to(bucket: {quote(downsampled)}, org: {quote(organisation)}) |> yield(name: {quote(name + kind)})"
        for kind, chosen, function in (("Numbers", number, "mean"), ("Booleans", boolean, "last"))
    ]
