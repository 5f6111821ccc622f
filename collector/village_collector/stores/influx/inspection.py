"""Looks whether an InfluxDB is as `village-collector influx setup` leaves it, with the collector's own token. Nothing is written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, NamedTuple

from village_collector.ports import StoreUnavailable
from village_collector.stores.influx import flux
from village_collector.stores.influx.plan import kept, retention_of, task_name
from village_collector.stores.influx.rest import InfluxAddress, Refused, Rest

_SETUP = "run `village-collector influx setup` again"


class Finding(NamedTuple):
    """One part of the server, and what was seen or what to do."""

    part: str
    status: Literal["ok", "degraded", "down"]
    evidence: str


async def inspect(address: InfluxAddress) -> list[Finding]:
    """Return what was found: server, bucket, token, down-sampling. Raises `StoreUnavailable` if the server does not answer."""
    rest = Rest(address.url, address.token, address.organisation)
    try:
        health = await _answer(rest, "/health")
        findings = [Finding("influx server", "ok", f"InfluxDB {health.get('version', '')} at {address.url}")]
        bucket = await _bucket(rest, address, address.bucket)
        findings += [_raw(address, bucket), await _token(rest, address)]
        findings.append(await _downsampling(rest, address, retention_of(bucket) if isinstance(bucket, dict) else None))
    finally:
        await rest.close()
    return findings


def _raw(address: InfluxAddress, bucket: dict[str, Any] | Refused | None) -> Finding:
    part = "influx bucket"
    if not isinstance(bucket, dict):
        said = f" ({bucket})" if bucket else ""
        return Finding(part, "down", f"{address.bucket} is not to be seen in {address.organisation}{said}: {_SETUP}")
    span = retention_of(bucket)
    if span is None:
        return Finding(
            part,
            "degraded",
            f"{address.bucket}, kept for ever, so the disk fills: {_SETUP} with --retention 90d --delete-older",
        )
    return Finding(part, "ok", f"{address.bucket}, {kept(span)}")


async def _token(rest: Rest, address: InfluxAddress) -> Finding:
    part = "influx token"
    try:
        # A comment is no point: this asks for the right to write and writes nothing.
        await rest.write(address.organisation, address.bucket, b"# check\n", compressed=False)
        await rest.query(f"from(bucket: {flux.quote(address.bucket)}) |> range(start: -1m) |> limit(n: 1)")
        others = await rest.listed("/api/v2/authorizations", "authorizations")
    except Refused as error:
        return Finding(part, "down", f"may not write and read {address.bucket} ({error}): {_SETUP}")
    if others:
        return Finding(
            part, "degraded", f"may do far more than write and read: {_SETUP}, which makes one with the least rights"
        )
    return Finding(part, "ok", f"may write and read {address.bucket}")


async def _downsampling(rest: Rest, address: InfluxAddress, raw: timedelta | None) -> Finding:
    part = "influx means"
    name = address.downsampled_bucket
    if not name:
        return Finding(
            part,
            "degraded",
            f"telemetry.downsampled_bucket is not set, so what {address.bucket} forgets is gone: {_SETUP}",
        )
    bucket = await _bucket(rest, address, name)
    if not isinstance(bucket, dict):
        return Finding(part, "degraded", f"bucket {name} is not to be seen: {_SETUP}")
    span = retention_of(bucket)
    if span is not None and raw is not None and span <= raw:
        return Finding(
            part,
            "degraded",
            f"{name} is {kept(span)}, no longer than {address.bucket}: {_SETUP} with --long-retention 5y",
        )
    try:
        tasks = await rest.listed("/api/v2/tasks", "tasks", (("name", task_name(name)),))
    except Refused as error:
        return Finding(part, "degraded", f"the task can't be seen ({error}): {_SETUP}")
    if not tasks:
        return Finding(part, "degraded", f"no task fills {name}: {_SETUP}")
    task = tasks[0]
    if task.get("status") != "active":
        return Finding(part, "degraded", f"the task that fills {name} is switched off: {_SETUP}")
    if task.get("lastRunStatus") == "failed":
        return Finding(part, "degraded", f"the task that fills {name} fails: {str(task.get('lastRunError', ''))[:300]}")
    return Finding(
        part, "ok", f"{name}, {kept(span or timedelta(0))}; its task ran last at {task.get('latestCompleted')}"
    )


async def _bucket(rest: Rest, address: InfluxAddress, name: str) -> dict[str, Any] | Refused | None:
    try:
        found = await rest.listed("/api/v2/buckets", "buckets", (("name", name), ("org", address.organisation)))
    except Refused as error:
        return error
    return next((bucket for bucket in found if bucket.get("name") == name), None)


async def _answer(rest: Rest, path: str) -> dict[str, Any]:
    try:
        found = await rest.ask("GET", path)
    except Refused as error:
        raise StoreUnavailable(f"InfluxDB answers {error}; see its own log", code="store_failed") from None
    if not isinstance(found, dict):
        raise rest.stranger(f"its answer to {path} is no JSON object")
    return found
