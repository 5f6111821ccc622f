"""What `check` finds in files: the API's certificate, and secrets that others may read. Blocks; nothing is written."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from village_collector.api_certificate import CERTIFICATE_FILE, WARN, check_given
from village_collector.config import Settings
from village_collector.own_certificate import read_certificate, shown
from village_wire.secret_files import others_may_open

Finding = tuple[Literal["ok", "degraded", "down"], str]


def api_certificate(settings: Settings, now: datetime | None = None) -> Finding:
    """Return what is to be said of the API's certificate; raises `InvalidSettings` for a given one that can't be used."""
    now = now or datetime.now(UTC)
    api = settings.api
    if not api.tls:
        return "ok", "plain HTTP, for programs on this machine only"
    if api.certificate_file is not None and api.key_file is not None:
        found = check_given(api.certificate_file, api.key_file, now)
        text = f"{api.certificate_file}, until {found.not_after:%Y-%m-%d}, for {', '.join(found.names)}"
        return ("degraded", f"{text}: renew it") if found.not_after - now < WARN else ("ok", text)
    path = settings.collector.data_dir / CERTIFICATE_FILE
    try:
        found = shown(read_certificate(path))
    except FileNotFoundError:
        return "ok", "the collector issues its certificate when it starts"
    except (OSError, ValueError) as error:
        return (
            "degraded",
            f"{path}: {getattr(error, 'strerror', None) or 'no certificate'}; the collector issues a new one when it starts",
        )
    text = f"own certificate until {found.not_after:%Y-%m-%d}, for {', '.join(found.names)}"
    if now >= found.not_after:
        return "degraded", f"{text}: it ended; a collector that runs renews it by itself"
    return "ok", f"{text}; renewed on {found.due:%Y-%m-%d}"


def exposed_secrets(settings: Settings) -> list[str]:
    """Return a text for each file with a password, token or private key that users beside its owner and group may open."""
    files = [
        settings.broker.password_file,
        settings.broker.key_file,
        settings.telemetry.token_file if settings.telemetry.store == "influx" else None,
        settings.control.password_file,
        settings.api.key_file,
    ]
    found = [f"others may open {path}: chmod o= it" for path in files if path is not None and others_may_open(path)]
    return found + [f"{path}: {error}" for path, error in _odd_owners(files)]


def _odd_owners(files: list[Path | None]) -> list[tuple[Path, str]]:
    # Whoever owns a file may change its rights and its content.
    odd = []
    for path in files:
        try:
            owner = path.stat().st_uid if path is not None else 0
        except OSError:
            continue
        if path is not None and owner not in {0, os.getuid()}:
            odd.append((path, "it belongs to another user, who may read and replace it: chown it"))
    return odd
