"""Telemetry in InfluxDB 2. The only module that imports `influxdb_client`.

Lines go to the server as they came; it judges their syntax. Its answers to a bad block (seen with 2.7.12): 400 for a line that it
can't parse, and nothing is written; 422 for points that the bucket refuses (type conflict, older than the retention), and the
rest is written. Writing a line twice is harmless, so the bad ones are found by halving.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException

from village_collector.lines import InvalidLine, parse_line
from village_collector.ports import BadLine, Field, Sample, StoreUnavailable
from village_collector.times import to_ns
from village_wire.clocks import format_time
from village_wire.ids import AGENT_PATTERN, DEVICE_PATTERN
from village_wire.points import KINDS, Value

#: A write of 500 KB takes some 50 ms; whoever needs this long is as good as away.
TIMEOUT_MS = 15_000
#: Writes spent on finding the bad lines of one block; then lines outside of our subset count as bad without asking.
MAX_TRIALS = 200
_DROPPED = re.compile(r"dropped=(\d+)")
#: Statuses that say something about the lines; all others are about the server or our access to it.
_ABOUT_LINES = frozenset({400, 413, 422})
_AGENT = re.compile(AGENT_PATTERN)
_DEVICE = re.compile(DEVICE_PATTERN)
#: InfluxDB keeps times of 64-bit nanoseconds.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """Where the bucket is. The token may read and write it."""

    url: str
    organisation: str
    bucket: str
    token: str

    def __repr__(self) -> str:
        return f"InfluxAddress({self.url}, {self.organisation}, {self.bucket})"


@dataclass(frozen=True, slots=True)
class _Refused:
    """The server's word on a block. `all_lines`: it holds for each of them."""

    reason: str
    all_lines: bool


class InfluxStore:
    """`ports.TelemetryStore` in a bucket. Retention is the bucket's own."""

    def __init__(self, address: InfluxAddress) -> None:
        self._address = address
        # Most methods of the client have no types.
        self._client: Any = None

    async def open(self) -> None:
        """Check server, token and bucket; raises `StoreUnavailable`, which says what to do."""
        if self._client is None:
            place = self._address
            self._client = InfluxDBClientAsync(place.url, place.token, place.organisation, timeout=TIMEOUT_MS)
        await self._ask("GET", "/health")
        await self._ask("GET", "/api/v2/buckets", [("name", self._address.bucket), ("org", self._address.organisation)])

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def write(self, lines: bytes) -> Sequence[BadLine]:
        """Store a block; see `ports.TelemetryStore`."""
        lines = lines.rstrip(b"\n")
        refused = await self._post(lines)
        if refused is None:
            return []
        parts = [part for part in lines.split(b"\n") if part]
        if refused.all_lines or len(parts) == 1:
            return [BadLine(part, refused.reason) for part in parts]
        return await self._find_bad_lines(parts)

    async def fields(self, agent: str, device: str) -> Sequence[Field]:
        """All fields of a device, by kind and name; see `ports.TelemetryStore`."""
        if not (_AGENT.fullmatch(agent) and _DEVICE.fullmatch(device)):
            return []
        records = await self._query(
            f"range(start: 0, stop: {format_time(_LAST)})"
            f' |> filter(fn: (r) => r.agent == "{agent}" and r.device == "{device}") |> last()'
        )
        found: dict[tuple[str, str], Sample] = {}
        for record in records:
            key = (str(record["_measurement"]), str(record["_field"]))
            sample = _sample(record)
            if key[1] in KINDS.get(key[0], {}) and (key not in found or found[key].time < sample.time):
                found[key] = sample
        return [Field(kind, name, sample) for (kind, name), sample in sorted(found.items())]

    async def latest(self, kind: str, device: str) -> Mapping[str, Sequence[Field]]:
        """The latest samples of one kind by agent in the last week; see `ports.TelemetryStore`."""
        if kind not in KINDS or not _DEVICE.fullmatch(device):
            return {}
        records = await self._query(
            f'range(start: -7d) |> filter(fn: (r) => r._measurement == "{kind}" and r.device == "{device}") |> last()'
        )
        found: dict[str, dict[str, Sample]] = {}
        for record in records:
            name, sample = str(record["_field"]), _sample(record)
            mine = found.setdefault(str(record["agent"]), {})
            if name in KINDS[kind] and (name not in mine or mine[name].time < sample.time):
                mine[name] = sample
        return {agent: [Field(kind, name, mine[name]) for name in sorted(mine)] for agent, mine in found.items()}

    async def history(
        self, agent: str, device: str, kind: str, field: str, start: datetime, end: datetime, limit: int
    ) -> Sequence[Sample]:
        """Samples of one field; see `ports.TelemetryStore`. A thinned sample has the time at which its span begins."""
        wanted = KINDS.get(kind, {}).get(field)
        start, end = max(start, _FIRST), min(end, _LAST)
        if wanted is None or not (_AGENT.fullmatch(agent) and _DEVICE.fullmatch(device)) or start >= end:
            return []
        selection = (
            f"range(start: {format_time(start)}, stop: {format_time(end)})"
            f' |> filter(fn: (r) => r._measurement == "{kind}" and r.agent == "{agent}" and r.device == "{device}"'
            f' and r._field == "{field}") |> group()'
        )
        records = await self._query(f'{selection} |> sort(columns: ["_time"]) |> limit(n: {limit + 1})')
        if len(records) > limit:
            # Windows count from 1970; the offset moves them so that one begins at `start`.
            start_ns, end_ns = to_ns(start), to_ns(end)
            span = -(-(end_ns - start_ns) // limit)
            mean = "last" if wanted is bool else "mean"
            records = await self._query(
                f"{selection} |> aggregateWindow(every: {span}ns, offset: {start_ns % span}ns, fn: {mean},"
                ' timeSrc: "_start", createEmpty: false)'
            )
        return [_sample(record) for record in records]

    async def _find_bad_lines(self, parts: list[bytes]) -> list[BadLine]:
        suspects, clean, reasons = [], [], {}
        for part in parts:
            try:
                parse_line(part)
                clean.append(part)
            except InvalidLine as error:
                suspects.append(part)
                reasons[part] = str(error)
        bad: list[BadLine] = []
        trials = 0
        waiting = [half for half in (suspects, clean) if half]
        while waiting:
            block = waiting.pop()
            if trials >= MAX_TRIALS and block[0] in reasons:
                bad += [BadLine(line, reasons[line]) for line in block]
                continue
            trials += 1
            refused = await self._post(b"\n".join(block))
            if refused is None:
                continue
            if refused.all_lines or len(block) == 1:
                bad += [BadLine(line, refused.reason) for line in block]
            else:
                middle = len(block) // 2
                waiting += [block[middle:], block[:middle]]
        return bad

    async def _post(self, lines: bytes) -> _Refused | None:
        # The client's own compression is level 9, which costs four times the processor time of level 1.
        body = await asyncio.to_thread(_gzip, lines)
        query = [("org", self._address.organisation), ("bucket", self._address.bucket), ("precision", "ns")]
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        try:
            await self._request("POST", "/api/v2/write", query, headers, body)
        except ApiException as error:
            if error.status not in _ABOUT_LINES:
                raise StoreUnavailable(self._explain(error)) from None
            reason = _message(error)
            dropped = _DROPPED.search(reason)
            everything = dropped is not None and int(dropped[1]) == lines.count(b"\n") + 1
            return _Refused(reason[:500], everything)
        return None

    async def _ask(self, method: str, path: str, query: Sequence[tuple[str, str]] = ()) -> None:
        try:
            await self._request(method, path, list(query), {"Accept": "application/json"}, None)
        except ApiException as error:
            raise StoreUnavailable(self._explain(error)) from None

    async def _request(
        self, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes | None
    ) -> None:
        try:
            await self._opened.api_client.call_api(path, method, query_params=query, header_params=headers, body=body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None

    async def _query(self, flux: str) -> list[dict[str, Any]]:
        text = f"from(bucket: {_quote(self._address.bucket)}) |> {flux}"
        try:
            tables = await self._opened.query_api().query(text)
        except ApiException as error:
            raise StoreUnavailable(self._explain(error)) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None
        except (FluxQueryException, FluxCsvParserException) as error:
            raise StoreUnavailable(f"{self._name}: the answer to a query was cut short: {error}") from None
        return [record.values for table in tables for record in table.records]

    @property
    def _name(self) -> str:
        return f"InfluxDB at {self._address.url}"

    @property
    def _opened(self) -> Any:
        if self._client is None:
            raise StoreUnavailable(f"{self._name} is not open")
        return self._client

    def _away(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._name} does not answer ({str(error) or type(error).__name__}); check that it runs and the URL"
        )

    def _explain(self, error: ApiException) -> str:
        place = self._address
        advice = {
            401: "check the token in telemetry.token_file",
            403: f"give the token the right to read and write bucket {place.bucket!r}",
            404: f"create bucket {place.bucket!r} in organisation {place.organisation!r}, or give the token the right to read it",
            429: "it is overloaded; it is tried again",
        }.get(error.status, "see its own log")
        return f"{self._name} answers {error.status}: {_message(error)[:300]}; {advice}"


def _gzip(lines: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(lines) + compressor.flush()


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _sample(record: dict[str, Any]) -> Sample:
    value: Value = record["_value"]
    return Sample(record["_time"].astimezone(UTC), value)
