"""Sets an InfluxDB up: organisation, buckets, down-sampling task, tokens. What is already right stays as it is.

Tokens go into files of mode 0600 and nowhere else. Facts seen with 2.7.12: a server shows tokens to its operator, so that another
machine can be given the same one; rights hang on the id of a bucket, so one that was deleted and made again needs a new token.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from village_collector.data_dir import write_atomically
from village_collector.ports import StoreUnavailable
from village_collector.stores.influx import flux
from village_collector.stores.influx.plan import (
    ADMIN_FILE,
    COLLECTOR_FILE,
    GRAFANA_FILE,
    LONG_RETENTION,
    RETENTION,
    Admin,
    SetupFailed,
    Step,
    Wish,
    kept,
    retention_of,
    task_name,
)
from village_collector.stores.influx.rest import Refused, Rest

#: Down-sampling a day of a county's readings takes InfluxDB some seconds.
_FILL_TIMEOUT_MS = 120_000


class Setup:
    """One run. Everything is looked up by name first, so it may be repeated, also after it failed half-way."""

    def __init__(self, wish: Wish, admin: Admin, *, dry: bool, tell: Callable[[Step], None]) -> None:
        """`dry`: change nothing, say what would be done."""
        self._wish = wish
        self._admin = admin
        self._dry = dry
        self._tell = tell
        self._organisation = ""
        self._new_server = False
        self._rest = Rest(wish.url, admin.token, wish.organisation, _FILL_TIMEOUT_MS)

    async def run(self) -> None:
        """Do all; raises `SetupFailed`."""
        try:
            if (await self._rest.ask("GET", "/api/v2/setup"))["allowed"]:
                await self._first_user()
            elif not self._admin.token:
                raise SetupFailed(
                    f"the InfluxDB at {self._wish.url} is set up already: give --admin-token-file"
                    f" (its first set-up by this command wrote {self._wish.folder / ADMIN_FILE})"
                )
            self._organisation = await self._ensure_organisation()
            wish = self._wish
            raw, raw_kept, old = await self._ensure_bucket(wish.bucket, wish.retention, RETENTION)
            low, _, known = await self._ensure_bucket(wish.downsampled_bucket, wish.long_retention, LONG_RETENTION)
            if old and not known:
                await self._fill()
            task = await self._ensure_task(raw_kept)
            reads = {("read", "buckets", raw), ("read", "buckets", low)}
            collector = reads | {("write", "buckets", raw), ("read", "tasks", task)}
            await self._ensure_token("collector", collector, COLLECTOR_FILE, wish.owner)
            await self._ensure_token("grafana", reads, GRAFANA_FILE, "")
        except Refused as error:
            advice = {
                401: "the administrator's token is refused: give that of an operator",
                403: "the administrator's token may not do this: give that of an operator",
            }.get(error.status, "see its log")
            raise SetupFailed(f"InfluxDB at {self._wish.url} answers {error}; {advice}") from None
        except StoreUnavailable as error:
            raise SetupFailed(str(error)) from None
        finally:
            await self._rest.close()

    async def _first_user(self) -> None:
        wish, admin = self._wish, self._admin
        if not (admin.username and admin.password):
            raise SetupFailed(
                f"the InfluxDB at {wish.url} is new: give --username, and --password-file or type the password"
            )
        self._new_server = True
        if not self._dry:
            # On disk before the server knows it: a token that is lost can't be had again.
            token = secrets.token_urlsafe(48)
            await self._write(ADMIN_FILE, token, "")
            span = RETENTION if wish.retention is None else wish.retention
            first = {"username": admin.username, "password": admin.password, "org": wish.organisation}
            bucket = {"bucket": wish.bucket, "retentionPeriodSeconds": int(span.total_seconds()), "token": token}
            await self._rest.ask("POST", "/api/v2/setup", body={**first, **bucket})
            self._rest.use_token(token)
        self._tell(Step("administrator", "made", f"{admin.username}, token in {wish.folder / ADMIN_FILE}"))

    async def _ensure_organisation(self) -> str:
        name = self._wish.organisation
        try:
            found = (await self._ask("GET", "/api/v2/orgs", org=name) or {"orgs": []})["orgs"]
        except Refused as error:
            if error.status != 404:
                raise
            found = []
        made = None if found else await self._change("POST", "/api/v2/orgs", {"name": name})
        self._tell(Step("organisation", "kept" if found and not self._new_server else "made", name))
        return str((found[0] if found else made or {"id": ""})["id"])

    async def _ensure_bucket(
        self, name: str, wanted: timedelta | None, default: timedelta
    ) -> tuple[str, timedelta | None, bool]:
        # The bucket's id, its retention, and whether it was there.
        found = await self._named("buckets", name)
        if found is None:
            span = default if wanted is None else wanted
            made = await self._change("POST", "/api/v2/buckets", {"name": name, **_rules(span)})
            self._tell(Step("bucket", "made", f"{name}, {kept(span)}"))
            return str(made["id"]), span or None, False
        now = retention_of(found) or timedelta(0)
        if self._new_server:
            # The first user's bucket, which the server made just now.
            self._tell(Step("bucket", "made", f"{name}, {kept(now)}"))
            return str(found["id"]), now or None, False
        if wanted is None or wanted == now:
            self._tell(Step("bucket", "kept", f"{name}, {kept(now)}"))
            return str(found["id"]), now or None, True
        if _shorter(wanted, now) and not self._wish.delete_older:
            raise SetupFailed(
                f"bucket {name} is {kept(now)}; {kept(wanted)} would delete what is older: add --delete-older if that is meant"
            )
        await self._change("PATCH", f"/api/v2/buckets/{found['id']}", _rules(wanted))
        self._tell(Step("bucket", "changed", f"{name}, {kept(wanted)} instead of {kept(now)}"))
        return str(found["id"]), wanted or None, True

    async def _fill(self) -> None:
        # What was there before the task, a day at a time.
        wish = self._wish
        days = 0
        if not self._dry:
            oldest = await self._rest.query(
                f"from(bucket: {flux.quote(wish.bucket)}) |> range(start: 0) |> first()"
                ' |> keep(columns: ["_time"]) |> group() |> min(column: "_time")'
            )
            end = flux.floor(datetime.now(UTC))
            start = flux.floor(oldest[0]["_time"].astimezone(UTC)) if oldest else end
            while start < end:
                stop = min(start + timedelta(days=1), end)
                await self._rest.query(flux.fill(wish.bucket, wish.downsampled_bucket, wish.organisation, start, stop))
                start, days = stop, days + 1
        self._tell(Step("history", "made", f"{days} days of {wish.bucket} down-sampled into {wish.downsampled_bucket}"))

    async def _ensure_task(self, retention: timedelta | None) -> str:
        wish = self._wish
        name = task_name(wish.downsampled_bucket)
        script = flux.task(name, wish.bucket, wish.downsampled_bucket, wish.organisation, retention)
        found = await self._named("tasks", name)
        if found is None:
            made = await self._change("POST", "/api/v2/tasks", {"flux": script, "status": "active"})
            self._tell(Step("task", "made", name))
            return str(made["id"])
        if (found["flux"], found["status"]) == (script, "active"):
            self._tell(Step("task", "kept", name))
        else:
            await self._change("PATCH", f"/api/v2/tasks/{found['id']}", {"flux": script, "status": "active"})
            self._tell(Step("task", "changed", name))
        return str(found["id"])

    async def _ensure_token(self, whose: str, rights: set[tuple[str, str, str]], file: str, owner: str) -> None:
        path = self._wish.folder / file
        description = f"village {whose} {self._wish.bucket}"
        known = (
            await self._ask("GET", "/api/v2/authorizations", orgID=self._organisation) if self._organisation else None
        )
        mine = [
            entry
            for entry in (known or {"authorizations": []})["authorizations"]
            if entry["description"] == description
        ]
        good = [entry for entry in mine if entry["status"] == "active" and _rights(entry) == rights]
        held, private = await asyncio.to_thread(_read, path)
        if private and held in {entry["token"] for entry in good}:
            self._tell(Step(f"{whose} token", "kept", str(path)))
            return
        if not good:
            permissions = [
                {"action": action, "resource": {"type": kind, "id": id_, "orgID": self._organisation}}
                for action, kind, id_ in sorted(rights)
            ]
            good = [
                await self._change(
                    "POST", "/api/v2/authorizations", {"description": description, "permissions": permissions}
                )
            ]
        await self._write(file, good[0].get("token", ""), owner)
        for entry in mine:
            if entry not in good:
                await self._change("DELETE", f"/api/v2/authorizations/{entry['id']}", None)
        self._tell(Step(f"{whose} token", "made" if not held else "changed", str(path)))

    async def _named(self, what: str, name: str) -> dict[str, Any] | None:
        if not self._organisation:
            return None
        try:
            answer = await self._ask("GET", f"/api/v2/{what}", name=name, orgID=self._organisation)
        except Refused as error:
            if error.status != 404:
                raise
            return None
        return next((entry for entry in answer[what] if entry["name"] == name), None)

    async def _ask(self, method: str, path: str, **query: str) -> Any:
        return None if self._dry and not self._admin.token else await self._rest.ask(method, path, tuple(query.items()))

    async def _change(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if self._dry:
            return {"id": ""}
        body = (
            body
            if body is None or method == "PATCH" or path == "/api/v2/orgs"
            else {"orgID": self._organisation, **body}
        )
        return await self._rest.ask(method, path, body=body) or {}

    async def _write(self, file: str, token: str, owner: str) -> None:
        if self._dry:
            return
        try:
            await asyncio.to_thread(_write, self._wish.folder / file, token, owner)
        except (OSError, LookupError) as error:
            raise SetupFailed(
                f"{self._wish.folder / file}: {error}; choose a folder of yours with --folder, or run it as root"
            ) from None


def _rules(span: timedelta) -> dict[str, Any]:
    return {"retentionRules": [{"type": "expire", "everySeconds": int(span.total_seconds())}]}


def _shorter(wanted: timedelta, now: timedelta) -> bool:
    return bool(wanted) and (not now or wanted < now)


def _rights(authorization: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (entry["action"], entry["resource"]["type"], entry["resource"].get("id", ""))
        for entry in authorization["permissions"]
    }


def _read(path: Path) -> tuple[str, bool]:
    # The token that a file holds, and whether nobody else can read it.
    try:
        return path.read_text().strip(), not path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        return "", False


def _write(path: Path, token: str, owner: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomically(path, f"{token}\n".encode(), 0o600)
    if owner:
        shutil.chown(path, owner)
