"""Which files of a configuration hold secrets that other users of the box may read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr

from village_agent.config import Settings
from village_wire.secret_files import others_may_open

#: Certificates are for everybody; every other file that a driver's configuration names by `…_file` holds a secret.
_PUBLIC = frozenset({"ca_file", "certificate_file"})


def exposed_files(settings: Settings) -> list[Path]:
    """Return files with passwords or keys that users beside owner and group may open. Blocks."""
    collector, folder = settings.collector, settings.file.absolute().parent
    named = [folder / path for path in (collector.password_file, collector.key_file) if path is not None]
    inline = False
    for entry in settings.devices:
        for found in _secrets(entry.config):
            if isinstance(found, Path):
                named.append(folder / found)
            else:
                inline = True
    if inline:
        named.append(settings.file)
    return [path for path in dict.fromkeys(named) if others_may_open(path)]


def _secrets(value: object, name: str = "") -> Iterator[Path | SecretStr]:
    if isinstance(value, BaseModel):
        for key, inner in value:
            yield from _secrets(inner, key)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _secrets(inner, name)
    elif isinstance(value, SecretStr):
        # An address is secret only with a password in it.
        if value.get_secret_value() if name != "url" else "@" in value.get_secret_value():
            yield value
    elif isinstance(value, Path) and name.endswith("_file") and name not in _PUBLIC:
        yield value
