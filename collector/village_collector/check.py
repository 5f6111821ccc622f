"""What of the collector's surroundings answers: its folder, the broker, the stores, and what its files hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from village_collector.app import control_store, read_influx_token, telemetry_store
from village_collector.broker_certificate import own_address, shows_own
from village_collector.cap.trusted import judge_signers
from village_collector.check_files import api_certificate, exposed_secrets
from village_collector.config import Settings
from village_collector.data_dir import DataDirProblem
from village_collector.mosquitto.inspection import inspect
from village_collector.mosquitto.passing import identified
from village_collector.ports import StoreUnavailable
from village_collector.sections import EMBEDDED
from village_collector.trust.authority import KEY_FILE as CA_KEY
from village_collector.trust.authority import PROBE_NAME, load_authority
from village_collector.trust.command_keys import KEY_FILE as COMMAND_KEY
from village_collector.trust.command_keys import load_ring
from village_wire.address import SessionError, SessionSettings
from village_wire.connection import connect
from village_wire.settings import InvalidSettings


class Row(NamedTuple):
    """One part, and what was seen or why it does not answer."""

    part: str
    status: Literal["ok", "degraded", "down"]
    evidence: str


async def check(settings: Settings) -> list[Row]:
    """Look at all parts. Nothing is written to the data folder."""
    parts: dict[str, Callable[[Settings], Awaitable[str]]] = {
        "data_dir": _data_dir,
        "keys": _keys,
        "broker": _broker,
        "telemetry": _telemetry,
        "control": _control,
    }
    rows = []
    for part, look in parts.items():
        try:
            rows.append(Row(part, "ok", await look(settings)))
        except (SessionError, StoreUnavailable, InvalidSettings, DataDirProblem, PermissionError) as error:
            rows.append(Row(part, "down", str(error)))
        else:
            if part == "telemetry" and settings.telemetry.store == "influx":
                rows += await _influx(settings)
    if settings.broker.files_dir is not None:
        rows.append(Row("broker files", *await inspect(settings)))
    rows.append(await asyncio.to_thread(_api, settings))
    if settings.cap.feeds:
        rows.append(await asyncio.to_thread(_alerts, settings))
    exposed = await asyncio.to_thread(exposed_secrets, settings)
    return rows + [Row("secrets", "degraded", text) for text in exposed]


def _api(settings: Settings) -> Row:
    try:
        return Row("api", *api_certificate(settings))
    except InvalidSettings as error:
        return Row("api", "down", str(error))


def _alerts(settings: Settings) -> Row:
    try:
        return Row("alerts", *judge_signers(settings.cap, datetime.now(UTC)))
    except InvalidSettings as error:
        return Row("alerts", "down", str(error))


async def _data_dir(settings: Settings) -> str:
    folder = settings.collector.data_dir
    if not await asyncio.to_thread(_writable, folder):
        raise PermissionError(f"{folder}: give this user the right to write there")
    return str(folder)


async def _keys(settings: Settings) -> str:
    return await asyncio.to_thread(_key_files, settings)


def _key_files(settings: Settings) -> str:
    folder, own = settings.collector.keys_folder, settings.collector.keys_dir is None
    if own and not (folder / CA_KEY).exists():
        return f"made in {folder} at the first start"
    authority = load_authority(folder, make=False)
    if own and not (folder / COMMAND_KEY).exists():
        return f"the authority's are in {folder}; the others are made at the next start"
    ring = load_ring(folder, authority, datetime.now(UTC))
    end = authority.certificate.not_valid_after_utc
    return f"{folder}: command keys number {ring.document.number}, authority until {end:%Y-%m-%d}"


async def _broker(settings: Settings) -> str:
    if settings.broker.url == EMBEDDED:
        return f"embedded, at mqtt://127.0.0.1:{settings.broker.port} once the collector runs"
    address = await asyncio.to_thread(own_address, settings, settings.broker.url)
    # A client id of its own, so that a running collector keeps its connection; with certificates it is the name in that.
    client_id = f"collector-check-{os.getpid()}"
    if not shows_own(settings.broker):
        async with connect(SessionSettings(address, client_id)):
            return f"{address.url} answers"
    authority = await asyncio.to_thread(load_authority, settings.collector.keys_folder, make=False)
    issued = authority.issue_passing(PROBE_NAME, datetime.now(UTC))
    async with identified(address, issued) as probe, connect(SessionSettings(probe, client_id)):
        return f"{address.url} answers"


async def _telemetry(settings: Settings) -> str:
    if settings.telemetry.store == "sqlite":
        return f"{settings.collector.data_dir / 'telemetry.db'}"
    store = await asyncio.to_thread(telemetry_store, settings)
    try:
        await store.open()
    finally:
        await store.close()
    return f"InfluxDB at {settings.telemetry.url} has bucket {settings.telemetry.bucket}"


async def _influx(settings: Settings) -> list[Row]:
    from village_collector.stores.influx import InfluxAddress
    from village_collector.stores.influx.inspection import inspect

    place = settings.telemetry
    try:
        token = await asyncio.to_thread(read_influx_token, settings)
        found = await inspect(
            InfluxAddress(place.url, place.organisation, place.bucket, token, place.downsampled_bucket)
        )
    except (StoreUnavailable, InvalidSettings) as error:
        return [Row("influx server", "down", str(error))]
    return [Row(*finding) for finding in found]


async def _control(settings: Settings) -> str:
    if not settings.control.url:
        return f"{settings.collector.data_dir / 'control.db'}"
    store = await asyncio.to_thread(control_store, settings)
    try:
        await asyncio.to_thread(store.open)
    finally:
        await asyncio.to_thread(store.close)
    return "the database answers"


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
