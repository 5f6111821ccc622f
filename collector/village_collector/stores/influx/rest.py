"""HTTP to InfluxDB 2. The only module that imports `influxdb_client`."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException

from village_collector.ports import StoreUnavailable

#: A write of 500 KB takes some 50 ms; whoever needs this long is as good as away.
TIMEOUT_MS = 15_000
#: Longer texts of the server are cut.
MAX_MESSAGE = 1000

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """Where the buckets are. The token may read and write `bucket`, and read `downsampled_bucket` (empty: there is none)."""

    url: str
    organisation: str
    bucket: str
    token: str = field(repr=False)
    downsampled_bucket: str = ""


class Refused(Exception):
    """The server answered, and not with a success. `retry_after` (seconds) is 0 if the server named none.

    `code` is InfluxDB's own word for the status; empty if something else in between answered.
    """

    def __init__(self, status: int, message: str, code: str = "", retry_after: float = 0.0) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Rest:
    """A connection pool to one server with one token. Methods raise `Refused`, or `StoreUnavailable` if no answer comes."""

    def __init__(self, url: str, token: str, organisation: str = "", timeout_ms: int = TIMEOUT_MS) -> None:
        """Needs a running event loop; `organisation` is that of queries."""
        self._url = url
        # Most methods of the client have no types.
        self._client: Any = InfluxDBClientAsync(url, token, organisation, timeout=timeout_ms)

    def use_token(self, token: str) -> None:
        """Send another token from now on."""
        self._client.api_client.set_default_header("Authorization", f"Token {token}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def listed(self, path: str, name: str, query: Query = ()) -> list[dict[str, Any]]:
        """Return the objects that a list of the server holds; raises `StoreUnavailable` also for an answer without that list."""
        answer = await self.ask("GET", path, query)
        found = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise self.stranger(f"its answer to {path} has no {name}")
        return [entry for entry in found if isinstance(entry, dict)]

    def stranger(self, reason: str) -> StoreUnavailable:
        """What answers is no InfluxDB of this version: perhaps a proxy."""
        return StoreUnavailable(f"what answers at {self._url} is no InfluxDB 2: {reason}", code="store_failed")

    async def ask(self, method: str, path: str, query: Query = (), body: object = None) -> Any:
        """Return the server's JSON answer, or None for an empty one."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return await self._call(method, path, query, headers, body, "object")

    async def write(self, organisation: str, bucket: str, body: bytes, *, compressed: bool = True) -> None:
        """Write lines of nanoseconds, gzipped or not."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        query = (("org", organisation), ("bucket", bucket), ("precision", "ns"))
        await self._call("POST", "/api/v2/write", query, headers, body, None)

    async def query(self, flux: str) -> list[dict[str, Any]]:
        """Return the rows of a Flux query; columns are the keys."""
        try:
            tables = await self._client.query_api().query(flux)
        except ApiException as error:
            raise _refused(error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None
        except (FluxQueryException, FluxCsvParserException) as error:
            raise StoreUnavailable(
                f"InfluxDB at {self._url}: the answer to a query was cut short: {error}", code="store_failed"
            ) from None
        except (LookupError, TypeError, ValueError, ArithmeticError, csv.Error) as error:
            # The library's parser stumbles over what is no table.
            raise self.stranger(f"its answer to a query can't be read ({type(error).__name__})") from None
        return [record.values for table in tables for record in table.records]

    async def _call(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: object, answer: str | None
    ) -> Any:
        try:
            return await self._client.api_client.call_api(
                path, method, query_params=list(query), header_params=dict(headers), body=body, response_type=answer
            )
        except ApiException as error:
            raise _refused(error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> StoreUnavailable:
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            reason = f"no answer within {TIMEOUT_MS // 1000} s"
        elif isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno is not None:
            # The library's own text speaks of TLS where there is none.
            reason = os.strerror(error.os_error.errno)
        return StoreUnavailable(
            f"InfluxDB at {self._url} does not answer ({reason}); check that it runs and the URL", code="store_away"
        )


def _refused(error: ApiException) -> Refused:
    try:
        answer = json.loads(error.body)
        message, code = str(answer["message"]), str(answer["code"])
    except (ValueError, TypeError, KeyError, RecursionError):
        message, code = str(error.reason), ""
    headers: Mapping[str, str] = error.headers or {}
    wait = headers.get("Retry-After", "")
    return Refused(error.status, message[:MAX_MESSAGE], code, float(wait) if wait.isdecimal() else 0.0)
