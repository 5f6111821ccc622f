"""The telemetry store in a bucket.

Lines that `Guard` lets through go to the server as they came; it judges their numbers. Its answers to a bad block (seen with
2.7.12): 400 for a line that it can't parse, and nothing is written; 422 for points that the bucket refuses (type conflict, older than
the retention), and the rest is written. Writing a line twice is harmless, so the bad ones are found by halving.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from village_collector.ports import BadLine, Field, Sample, StoreUnavailable
from village_collector.stores.influx import flux
from village_collector.stores.influx.guard import Guard, sift_each
from village_collector.stores.influx.plan import retention_of
from village_collector.stores.influx.rest import InfluxAddress, Refused, Rest
from village_collector.times import to_ns
from village_wire.clocks import format_time
from village_wire.ids import AGENT_PATTERN, DEVICE_PATTERN
from village_wire.points import KINDS

_T = TypeVar("_T")
#: Spans beyond it are read from the down-sampled bucket, for speed; a month of seconds would be millions of samples.
LONG_SPAN = timedelta(days=14)
_DROPPED = re.compile(r"dropped=(\d+)")
#: InfluxDB's answers about the lines; all others are about the server, our access to it, or come from something in between.
_ABOUT_LINES = frozenset({(400, "invalid"), (422, "unprocessable entity"), (413, "request too large")})
_AGENT = re.compile(AGENT_PATTERN)
_DEVICE = re.compile(DEVICE_PATTERN)
#: InfluxDB keeps times of 64-bit nanoseconds.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
#: How long the retention of the bucket is taken as known.
_RETENTION_SECONDS = 600.0


class InfluxStore:
    """`ports.TelemetryStore` in a bucket. Retention is the bucket's own; `downsampled_bucket` serves long histories."""

    def __init__(self, address: InfluxAddress, read_token: Callable[[], str] | None = None) -> None:
        """`read_token` (blocks; raises `ValueError`) is asked when the server refuses the token, for there may be a new one."""
        self._address = address
        self._read_token = read_token
        self._guard = Guard()
        self._rest: Rest | None = None
        self._retention: tuple[float, timedelta | None] | None = None

    async def open(self) -> None:
        """Check server, token and bucket; raises `StoreUnavailable`, which says what to do."""
        if self._rest is None:
            self._rest = Rest(self._address.url, self._address.token, self._address.organisation)
        await self._call(lambda rest: rest.ask("GET", "/health"))
        self._retention = None
        await self._bucket_retention()

    async def close(self) -> None:
        """Close the connections."""
        if self._rest is not None:
            await self._rest.close()
            self._rest = None

    async def write(self, lines: bytes) -> Sequence[BadLine]:
        """Store a block; see `ports.TelemetryStore`. Lines of a wrong type, form or date are refused before the server sees them."""
        body, lines, bad = await asyncio.to_thread(self._prepare, lines.rstrip(b"\n"))
        if not lines:
            return bad
        refused = await self._post(body)
        if refused is None:
            return bad
        lines, outside = await asyncio.to_thread(sift_each, lines.split(b"\n"), time.time_ns())
        return [*bad, *outside, *await self._find_bad_lines(lines.split(b"\n") if lines else [])]

    async def fields(self, agent: str, device: str) -> Sequence[Field]:
        """All fields of a device, by kind and name; see `ports.TelemetryStore`."""
        if not (_AGENT.fullmatch(agent) and _DEVICE.fullmatch(device)):
            return []
        records = await self._query(
            f"from(bucket: {flux.quote(self._address.bucket)}) |> range(start: 0, stop: {format_time(_LAST)})"
            f' |> filter(fn: (r) => r.agent == "{agent}" and r.device == "{device}") |> last()'
        )
        found: dict[tuple[str, str], Sample] = {}
        for record in records:
            key = (str(record.get("_measurement")), str(record.get("_field")))
            sample = _sample(record)
            if key[1] in KINDS.get(key[0], {}) and (key not in found or found[key].time < sample.time):
                found[key] = sample
        return [Field(kind, name, sample) for (kind, name), sample in sorted(found.items())]

    async def latest(self, kind: str, device: str) -> Mapping[str, Sequence[Field]]:
        """The latest samples of one kind by agent in the last week; see `ports.TelemetryStore`."""
        if kind not in KINDS or not _DEVICE.fullmatch(device):
            return {}
        records = await self._query(
            f"from(bucket: {flux.quote(self._address.bucket)}) |> range(start: -7d)"
            f' |> filter(fn: (r) => r._measurement == "{kind}" and r.device == "{device}") |> last()'
        )
        found: dict[str, dict[str, Sample]] = {}
        for record in records:
            name, sample = str(record.get("_field")), _sample(record)
            mine = found.setdefault(str(record.get("agent")), {})
            if name in KINDS[kind] and (name not in mine or mine[name].time < sample.time):
                mine[name] = sample
        return {agent: [Field(kind, name, mine[name]) for name in sorted(mine)] for agent, mine in found.items()}

    async def history(
        self, agent: str, device: str, kind: str, field: str, start: datetime, end: datetime, limit: int
    ) -> Sequence[Sample]:
        """Samples of one field; see `ports.TelemetryStore`. A thinned sample has the time at which its span begins.

        What the raw bucket keeps no more, and all but the newest of a span over `LONG_SPAN`, comes from the down-sampled bucket.
        """
        wanted = KINDS.get(kind, {}).get(field)
        start, end = max(start, _FIRST), min(end, _LAST)
        if wanted is None or not (_AGENT.fullmatch(agent) and _DEVICE.fullmatch(device)) or start >= end:
            return []
        names = (kind, agent, device, field)
        selection = flux.series(self._address.bucket, start, end, *names)
        if await self._is_long(start, end):
            cut = await self._downsampled_until(start, end, names)
            if cut is not None:
                old = flux.series(self._address.downsampled_bucket, start, cut, *names)
                new = flux.series(self._address.bucket, cut, end, *names) if cut < end else ""
                selection = flux.joined(old, new, wanted) if new else old
        in_order = f'{selection} |> sort(columns: ["_time"])'
        records = await self._query(f"{in_order} |> limit(n: {limit + 1})")
        if len(records) > limit:
            # Windows count from 1970; the offset moves them so that one begins at `start`.
            start_ns, end_ns = to_ns(start), to_ns(end)
            span = -(-(end_ns - start_ns) // limit)
            mean = "last" if wanted is bool else "mean"
            if selection.startswith("union"):
                selection = f"{in_order} |> range(start: {format_time(start)}, stop: {format_time(end)})"
            records = await self._query(
                f"{selection} |> aggregateWindow(every: {span}ns, offset: {start_ns % span}ns, fn: {mean},"
                ' timeSrc: "_start", createEmpty: false)'
            )
        return [_sample(record) for record in records]

    async def _is_long(self, start: datetime, end: datetime) -> bool:
        if not self._address.downsampled_bucket:
            return False
        retention = await self._bucket_retention()
        return end - start > LONG_SPAN or (retention is not None and start < datetime.now(UTC) - retention)

    async def _downsampled_until(
        self, start: datetime, end: datetime, names: tuple[str, str, str, str]
    ) -> datetime | None:
        # The end of the newest window of this series, so that a task that stands still hides no raw reading.
        selection = flux.series(self._address.downsampled_bucket, start, end, *names)
        newest = [_sample(record).time + flux.WINDOW for record in await self._query(f"{selection} |> last()")]
        return min(max(newest), end) if newest else None

    async def _bucket_retention(self) -> timedelta | None:
        known = self._retention
        if known is None or time.monotonic() - known[0] > _RETENTION_SECONDS:
            place = self._address
            query = (("name", place.bucket), ("org", place.organisation))
            buckets = await self._call(lambda rest: rest.listed("/api/v2/buckets", "buckets", query))
            if not buckets:
                raise self._explain(Refused(404, f"no bucket {place.bucket!r} is shown"))
            self._retention = known = (time.monotonic(), retention_of(buckets[0]))
        return known[1]

    def _prepare(self, lines: bytes) -> tuple[bytes, bytes, list[BadLine]]:
        good, bad = self._guard.sift(lines, time.time_ns())
        return compress(good), good, bad

    async def _find_bad_lines(self, parts: list[bytes]) -> list[BadLine]:
        bad: list[BadLine] = []
        waiting = [parts] if parts else []
        while waiting:
            block = waiting.pop()
            refused = await self._post(await asyncio.to_thread(compress, b"\n".join(block)))
            if refused is None:
                continue
            dropped = _DROPPED.search(refused.message)
            if len(block) == 1 or (dropped is not None and int(dropped[1]) == len(block)):
                bad += [BadLine(line, refused.message[:500]) for line in block]
            else:
                middle = len(block) // 2
                waiting += [block[middle:], block[:middle]]
        return bad

    async def _post(self, body: bytes) -> Refused | None:
        # None once the lines are stored; otherwise the server's word on them.
        place = self._address
        return await self._call(lambda rest: _about_lines(rest.write(place.organisation, place.bucket, body)))

    async def _query(self, text: str) -> list[dict[str, Any]]:
        return await self._call(lambda rest: rest.query(text))

    async def _call(self, work: Callable[[Rest], Awaitable[_T]]) -> _T:
        rest = self._rest
        if rest is None:
            raise StoreUnavailable(f"InfluxDB at {self._address.url} is not open", code="store_away")
        try:
            return await work(rest)
        except Refused as error:
            if error.status not in {401, 403, 404} or not await self._take_new_token():
                raise self._explain(error) from None
        try:
            return await work(rest)
        except Refused as error:
            raise self._explain(error) from None

    async def _take_new_token(self) -> bool:
        if self._read_token is None:
            return False
        try:
            token = await asyncio.to_thread(self._read_token)
        except ValueError:
            return False
        if token == self._address.token:
            return False
        self._address = replace(self._address, token=token)
        if self._rest is not None:
            self._rest.use_token(token)
        return True

    def _explain(self, error: Refused) -> StoreUnavailable:
        place = self._address
        code, advice = {
            401: (
                "store_unauthorised",
                "check the token in telemetry.token_file; a new one there is taken up by itself",
            ),
            403: ("store_unauthorised", f"give the token the right to read and write bucket {place.bucket!r}"),
            404: (
                "store_missing",
                f"create bucket {place.bucket!r} in organisation {place.organisation!r}, or give the token its rights",
            ),
            429: ("store_busy", "it is overloaded; it is tried again"),
            503: ("store_busy", "it is overloaded or starting; it is tried again"),
        }.get(error.status, ("store_failed", "see its own log"))
        if "no space left" in error.message:
            code, advice = "store_full", "its disk is full: free space, then restart it"
        text = f"InfluxDB at {place.url} answers {error.status}: {error.message[:300]}; {advice}"
        return StoreUnavailable(text, code=code, retry_after=error.retry_after)


def compress(lines: bytes) -> bytes:
    """Return gzip of level 1; the client's own level, 9, costs four times the processor time."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(lines) + compressor.flush()


async def _about_lines(write: Awaitable[None]) -> Refused | None:
    try:
        await write
    except Refused as error:
        if (error.status, error.code) in _ABOUT_LINES:
            return error
        raise
    return None


def _sample(record: dict[str, Any]) -> Sample:
    moment, value = record.get("_time"), record.get("_value")
    if not isinstance(moment, datetime) or not isinstance(value, (bool, int, float)):
        raise StoreUnavailable("InfluxDB answers a query with a row that has no time or no value", code="store_failed")
    return Sample(moment.astimezone(UTC), value)
