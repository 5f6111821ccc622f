"""People and tokens put straight into a control store, and clients that show such a token."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from argon2 import PasswordHasher

from village_collector.people.rights import Grant
from village_collector.people.service import digest_of, new_secret
from village_collector.stores.control import ControlStore
from village_collector.stores.token_records import TokenRecord

ADMINISTRATOR = Grant("administrator")
#: For tests that are not about the cost of a password.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def add_person(control: ControlStore, person: str, *grants: Grant, password: str | None = None) -> None:
    """A person who can't log in unless a hash is given, but has tokens."""
    assert control.add_person(person, datetime.now(UTC), grants, password)


def add_token(
    control: ControlStore,
    person: str,
    *,
    narrowed: tuple[Grant, ...] | None = None,
    now: datetime | None = None,
    life: timedelta = timedelta(days=1),
    api: bool = False,
) -> str:
    """The secret of a new token."""
    secret = new_secret()
    created = now or datetime.now(UTC)
    digest = digest_of(secret)
    token = TokenRecord(digest[:16], person, "api" if api else "session", "test", narrowed, created, created + life)
    assert control.add_token(token, digest, 1000)
    return secret


def add_caller(control: ControlStore, person: str, *grants: Grant, now: datetime | None = None) -> str:
    """A new person, and the secret of a token of a login."""
    add_person(control, person, *grants)
    return add_token(control, person, now=now)


def administrators_token(control: ControlStore, now: datetime | None = None) -> str:
    """A token of the administrator `chief`, who is made at the first call."""
    control.add_person("chief", now or datetime.now(UTC), [ADMINISTRATOR])
    return add_token(control, "chief", now=now)


def token_for(data_dir: Path) -> str:
    """An administrator's token in the SQLite store of a collector program, which may run or not."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    control = ControlStore(f"sqlite:///{data_dir / 'control.db'}")
    control.open()
    try:
        return administrators_token(control)
    finally:
        control.close()


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


def trust(data_dir: Path, url: str) -> ssl.SSLContext | bool:
    """What a client needs to trust a collector program: its authority."""
    return ssl.create_default_context(cafile=data_dir / "ca.pem") if urlsplit(url).scheme == "https" else False


def api_client(data_dir: Path, url: str, *, token: str | None = None, **options: Any) -> httpx.AsyncClient:
    """A client of a collector program, whose paths begin after `/api/v1`, as an administrator unless a token is given."""
    return httpx.AsyncClient(
        base_url=f"{url}/api/v1",
        headers=bearer(token or token_for(data_dir)),
        verify=trust(data_dir, url),
        trust_env=False,
        **options,
    )
