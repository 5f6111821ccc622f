"""Which collector a command talks to, whom it trusts there, and with which token."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from village_cli.failures import USAGE, Failure
from village_cli.options import DEFAULT_URL, Settings
from village_wire.language import Bilingual

#: What a token may look like; its text is never shown, so a wrong one is told only as wrong.
_TOKEN = re.compile(r"[!-~]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """`authority` is PEM, "" for the system's store. `origin` tells where the token comes from."""

    url: str
    authority: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    origin: Literal["nobody", "login", "environment"] = "nobody"
    person: str = ""


def url_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> str:
    """Return the address given with `--url` or VILLAGE_URL, else the one last logged in to, else this machine's."""
    from village_cli.credentials import Credentials, CredentialsUnusable, default_folder, normal

    if settings.url is not None:
        return normal(settings.url)
    try:
        return Credentials(default_folder(environment)).last() or DEFAULT_URL
    except CredentialsUnusable:
        if environment.get("VILLAGE_TOKEN"):
            return DEFAULT_URL
        raise


def session_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> Session:
    """Return what a command needs to talk to its collector; raises `Failure`.

    VILLAGE_TOKEN and VILLAGE_CA (a file) stand in for what `village login` keeps; with both, nothing is read from there.
    """
    from village_cli.credentials import Credentials, Login, default_folder

    url = url_of(settings, environment)
    token, file = environment.get("VILLAGE_TOKEN", ""), environment.get("VILLAGE_CA", "")
    if token and not _TOKEN.fullmatch(token):
        raise Failure(
            Bilingual("VILLAGE_TOKEN holds no token.", "VILLAGE_TOKEN 不是有效令牌。"),
            Bilingual("Set it to what `village token make` printed.", "请设为 village token make 打印的令牌。"),
            exit_code=USAGE,
        )
    kept = Login()
    if not (token and file):
        kept = Credentials(default_folder(environment)).of(url) or Login()
    authority = kept.authority
    if file:
        from village_cli.pinning import read_authority

        authority = read_authority(Path(file))
    if token:
        return Session(url, authority, token, "environment")
    return Session(url, authority, kept.token, "login" if kept.token else "nobody", kept.person)
