"""The collector's configuration (TOML). Every key has a default, so that it runs without a file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from village_collector.sections import (
    ApiSection,
    BrokerSection,
    CapFeed,
    CapSection,
    CollectorSection,
    ControlSection,
    Section,
    TelemetrySection,
)
from village_wire.address import BrokerAddress
from village_wire.settings import InvalidSettings, Problem, load_toml

#: Passwords and tokens are far shorter; a longer file is the wrong file.
MAX_SECRET_BYTES = 4096
_S = TypeVar("_S", bound=Section)


class Settings(Section):
    """The whole configuration."""

    collector: CollectorSection = Field(default_factory=CollectorSection)
    broker: BrokerSection = Field(default_factory=BrokerSection)
    telemetry: TelemetrySection = Field(default_factory=TelemetrySection)
    control: ControlSection = Field(default_factory=ControlSection)
    api: ApiSection = Field(default_factory=ApiSection)
    cap: CapSection = Field(default_factory=CapSection)


def load_settings(path: Path | None, data_dir: Path | None = None) -> Settings:
    """Return the settings of a file, or the defaults. Relative paths count from the file's folder, `data_dir` from the working folder.

    Raises:
        InvalidSettings: with file, line, key and reason.
    """
    folder = Path.cwd() if path is None else path.absolute().parent
    settings = Settings() if path is None else load_toml(path, Settings)
    collector = _placed(settings.collector, folder)
    if data_dir is not None:
        collector = collector.model_copy(update={"data_dir": data_dir.absolute()})
    return settings.model_copy(
        update={
            "collector": collector,
            "broker": _placed(settings.broker, folder),
            "telemetry": _placed(settings.telemetry, folder),
            "control": _placed(settings.control, folder),
            "api": _placed(settings.api, folder),
            "cap": settings.cap.model_copy(
                update={"feeds": tuple(_beside(feed, folder) for feed in settings.cap.feeds)}
            ),
        }
    )


def broker_address(broker: BrokerSection, url: str) -> BrokerAddress:
    """Return where the broker is, with the password read from its file; `url` is that of the started one when it is embedded.

    Raises:
        InvalidSettings: the file can't be read.
    """
    password = read_secret(broker.password_file, "broker.password_file") if broker.password_file else None
    return BrokerAddress(url, broker.username, password, broker.ca_file, broker.certificate_file, broker.key_file)


def read_secret(path: Path, key: str) -> str:
    """Return the secret in a file, without the line end; `key` names the setting in the error.

    Raises:
        InvalidSettings: the file can't be read, is empty or too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        secret = content.decode().strip()
    except OSError as error:
        raise InvalidSettings(path, [Problem(0, key, error.strerror or str(error))]) from None
    except UnicodeDecodeError:
        raise InvalidSettings(path, [Problem(0, key, "not UTF-8 text")]) from None
    if not secret or len(content) > MAX_SECRET_BYTES or "\n" in secret:
        raise InvalidSettings(path, [Problem(0, key, "the file must hold the secret on one line and nothing else")])
    return secret


def _beside(feed: CapFeed, folder: Path) -> CapFeed:
    return feed.model_copy(update={"trusted_certificates": tuple(folder / path for path in feed.trusted_certificates)})


def _placed(section: _S, folder: Path) -> _S:
    paths = {name: folder / value for name, value in section if isinstance(value, Path)}
    return section.model_copy(update=paths)
