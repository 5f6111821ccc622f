"""Makes all that mosquitto needs: the folder with the right owner, the authority, the files, and what a person then copies.

The configuration and the units are copied by root to where root alone can change them; whoever holds the collector could
otherwise let mosquitto or systemd run anything.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from village_collector.app import control_store
from village_collector.broker_certificate import name_at_broker
from village_collector.config import Settings
from village_collector.data_dir import DataDirProblem, load_collector_id, write_atomically
from village_collector.mosquitto.files import CONFIGURATION, GROUP, LIMITS, RELOAD_PATH, configuration, units
from village_collector.mosquitto.writing import Trusted, broker_names, write_files
from village_collector.ports import StoreUnavailable
from village_collector.trust.authority import load_authority
from village_wire.settings import InvalidSettings

DEFAULT_FOLDER = Path("/var/lib/village-mosquitto")
USER = "village-collector"
_CONF_D = "/etc/mosquitto/conf.d/village.conf"
_UNITS = "/etc/systemd/system"


class SetupFailed(Exception):
    """It can't be done; the text says what to do."""


class Step(NamedTuple):
    """What was done with one part."""

    outcome: Literal["written", "kept"]
    part: str
    detail: str


@dataclass(frozen=True, slots=True)
class Wish:
    """`address` is where mosquitto listens, "" everywhere; `names` are further names and addresses under which agents reach it.

    `standalone`: a mosquitto of this user, for which the configuration is whole. `owner` is the collector's user, "" the one to be guessed.
    """

    folder: Path
    address: str
    port: int
    names: tuple[str, ...]
    standalone: bool = False
    owner: str = ""

    def broker(self) -> Mapping[str, str]:
        """What belongs into `[broker]` of the collector's configuration."""
        public = self.names[0] if self.names else self.address or socket.gethostname()
        return {
            "url": f"mqtts://{_bracketed(self.address or 'localhost')}:{self.port}",
            "public_url": f"mqtts://{_bracketed(public)}:{self.port}",
            "files_dir": str(self.folder),
        }

    def commands(self) -> Sequence[str]:
        """What a person does next, in a shell."""
        folder = shlex.quote(str(self.folder))
        if self.standalone:
            return [f"mosquitto -d -c {folder}/{CONFIGURATION}"]
        return [
            f"sudo install -m 644 {folder}/{CONFIGURATION} {_CONF_D}",
            f"sudo install -m 644 {folder}/village-mosquitto-reload.* {_UNITS}/",
            f"sudo install -D -m 644 {folder}/{LIMITS} {_UNITS}/mosquitto.service.d/village.conf",
            "sudo systemctl daemon-reload",
            "sudo systemctl restart mosquitto",
            f"sudo systemctl enable --now {RELOAD_PATH}",
            f"sudo systemctl restart {USER}",
        ]


def set_up(settings: Settings, wish: Wish, now: datetime, tell: Callable[[Step], None]) -> None:
    """Do it; what is right already stays as it is. As root, everything is made as the collector's user.

    Raises:
        SetupFailed: a file or folder can't be made, or the names are none.
    """
    try:
        _make_folders(settings, wish)
        _write(settings, wish, now, tell)
    except OSError as error:
        raise SetupFailed(
            f"{error.filename or wish.folder}: {error.strerror}; run this as root, or give --dir and --data-dir where this user may write"
        ) from None
    except (DataDirProblem, StoreUnavailable, InvalidSettings, ValueError) as error:
        raise SetupFailed(str(error)) from None


def _write(settings: Settings, wish: Wish, now: datetime, tell: Callable[[Step], None]) -> None:
    data, folder = settings.collector.data_dir, wish.folder
    fresh = not (settings.collector.keys_folder / "ca.key").exists()
    authority = load_authority(settings.collector.keys_folder, make=settings.collector.keys_dir is None)
    tell(Step("written" if fresh else "kept", "authority", str(settings.collector.keys_folder / "ca.pem")))
    name = name_at_broker(load_collector_id(data))
    hosts = (urlsplit(url).hostname or "" for url in wish.broker().values())
    names = broker_names(folder, *hosts, *wish.names)
    trusted = _trusted(settings, name, names)
    written = write_files(folder, authority, trusted, now)
    texts = units(folder) if not wish.standalone else {}
    user = pwd.getpwuid(os.geteuid()).pw_name if wish.standalone else ""
    texts[CONFIGURATION] = configuration(folder, wish.address, wish.port, user=user)
    changed = set(written.changed)
    for file, text in texts.items():
        if not (folder / file).exists() or (folder / file).read_bytes() != text.encode():
            write_atomically(folder / file, text.encode(), 0o644)
            changed.add(file)
    for part, files in _PARTS.items():
        found = [file for file in files if file in changed or (folder / file).exists()]
        if found:
            outcome: Literal["written", "kept"] = "written" if changed.intersection(found) else "kept"
            detail = {"certificate": ", ".join(names), "rules": f"{len(trusted.agents)} agents"}.get(part, "")
            tell(Step(outcome, part, " ".join(filter(None, (f"{folder / found[0]}", detail and f"({detail})")))))


_PARTS = {
    "certificate": ("server.pem", "server.key", "ca.pem"),
    "rules": ("village.acl",),
    "revoked": ("crl.pem",),
    "configuration": (CONFIGURATION,),
    "units": (RELOAD_PATH, "village-mosquitto-reload.service", LIMITS),
}


def _trusted(settings: Settings, name: str, names: Sequence[str]) -> Trusted:
    if not settings.control.url and not (settings.collector.data_dir / "control.db").exists():
        return Trusted({}, [name], [], names)
    control = control_store(settings)
    control.open()
    try:
        collectors = sorted({*control.collector_subjects(), name})
        return Trusted(dict(control.active_agents()), collectors, control.revoked_certificates(), names)
    finally:
        control.close()


def _make_folders(settings: Settings, wish: Wish) -> None:
    data, folder = settings.collector.data_dir, wish.folder
    if os.geteuid() != 0:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700 if wish.standalone else 0o750, parents=True, exist_ok=True)
        return
    user = _owner(data, wish.owner)
    if not data.exists():
        data.mkdir(mode=0o700, parents=True)
        os.chown(data, user.pw_uid, user.pw_gid)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    group = user.pw_gid if wish.standalone else _group()
    os.chown(folder, user.pw_uid, group)
    # What is made there belongs to the broker's group, which may read it; nobody else looks into it.
    folder.chmod(0o700 if wish.standalone else 0o2750)
    if user.pw_uid != 0:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def _owner(data: Path, name: str) -> pwd.struct_passwd:
    try:
        if name:
            return pwd.getpwnam(name)
        if data.exists():
            return pwd.getpwuid(data.stat().st_uid)
    except KeyError:
        raise SetupFailed(f"there is no user {name or data.stat().st_uid}; name the collector's with --owner") from None
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return pwd.getpwuid(0)


def _group() -> int:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        raise SetupFailed(f"there is no group {GROUP}: apt-get install mosquitto, then run this again") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
