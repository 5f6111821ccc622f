"""The agent's configuration: a TOML file, checked before anything starts. Every problem names file, key, line and reason."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, SecretStr, ValidationError

from village_agent.loudspeaker.settings import LoudspeakersTable
from village_agent.tables import AgentTable, CollectorTable, DoorTable, OutboxTable
from village_drivers.kit import Driver, DriverConfig
from village_drivers.registry import DRIVERS
from village_wire.address import BrokerAddress
from village_wire.presence import MAX_DEVICES
from village_wire.settings import InvalidSettings, Problem, problem_at, problems_of, read_toml
from village_wire.signed import decode_public_key

#: Readings of the agent itself carry this device id.
AGENT_DEVICE = "agent"
#: Passwords are far shorter; a longer file is the wrong file.
MAX_SECRET = 4096
if TYPE_CHECKING:
    from village_agent.identity.folder import Identity

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DriverEntry:
    """One entry of [[devices]], with the class of its driver."""

    type: type[Driver]
    config: DriverConfig


@dataclass(frozen=True, slots=True)
class Settings:
    """A valid configuration. `text` is the file's, so that a later problem can name its line.

    `identity` is None where `[collector]` says it all.
    """

    file: Path
    text: str
    agent_id: str
    area: str
    identity: Identity | None
    agent: AgentTable
    collector: CollectorTable
    outbox: OutboxTable
    devices: tuple[DriverEntry, ...]
    doors: tuple[DoorTable, ...]
    password: SecretStr | None
    loudspeakers: LoudspeakersTable

    @property
    def version(self) -> str:
        """The first 16 digits of the SHA-256 of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def state_dir(self) -> Path:
        """See `state_folder`."""
        return state_folder(self.file, self.agent.state_dir)

    @property
    def ca_file(self) -> Path | None:
        """Certificates to trust, for the broker and for uploads."""
        return self.identity.ca_file if self.identity is not None else self._path(self.collector.ca_file)

    @property
    def api(self) -> str | None:
        """The collector's API, from where sound files come; None where nobody said where it is."""
        return self.identity.record.api if self.identity is not None else self.collector.api

    @property
    def address(self) -> BrokerAddress:
        """The collector's broker."""
        table = self.collector
        if self.identity is not None:
            return self.identity.address
        password = self.password.get_secret_value() if self.password else None
        certificate, key = self._path(table.certificate_file), self._path(table.key_file)
        return BrokerAddress(table.broker or "", table.username, password, self.ca_file, certificate, key)

    @property
    def command_key(self) -> Ed25519PublicKey | None:
        """The key with which commands must be signed; None where the identity says which."""
        key = self.collector.command_key
        return None if self.identity is not None or key is None else decode_public_key(key)

    def _path(self, relative: Path | None) -> Path | None:
        return None if relative is None else self.file.parent / relative


class NotEnrolled(InvalidSettings):
    """The box has no identity, and nothing else is wrong with the file; `settings` are those of an agent without a name."""

    def __init__(self, settings: Settings, problems: list[Problem]) -> None:
        super().__init__(settings.file, problems)
        self.settings = settings


def state_folder(file: Path, configured: Path | None) -> Path:
    """Return [agent] state_dir, else $STATE_DIRECTORY (systemd), else `village-agent-state` next to the file."""
    if configured is not None:
        return file.parent / configured
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else file.parent / "village-agent-state"


def read_agent_table(file: Path) -> AgentTable:
    """Return the table `[agent]` alone, of an agent that is about to be enrolled; raises `InvalidSettings`."""
    text, document = read_toml(file)
    try:
        return AgentTable.model_validate(document.get("agent", {}))
    except ValidationError as error:
        raise InvalidSettings(file, problems_of(error, text, ("agent",))) from None


def load(file: Path) -> Settings:
    """Read and check a configuration, and the identity of an enrolled agent. Relative paths count from the file's folder.

    Raises:
        NotEnrolled: that is all that is wrong.
        InvalidSettings: with all problems at once; each names file, key, line and reason.
    """
    file = file.absolute()
    text, document = read_toml(file)
    return _Reader(file, text).read(document)


class _Reader:
    """Checks the parts of one document and gathers their problems."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self._problems: list[Problem] = []
        #: That there is no identity, apart from the rest.
        self._missing: list[Problem] = []

    def read(self, document: dict[str, Any]) -> Settings:
        for key in document.keys() - {"agent", "collector", "outbox", "devices", "doors", "loudspeakers"}:
            self._add((key,), "unknown key")
        agent = self._table(AgentTable, document.get("agent", {}), ("agent",))
        collector = self._table(CollectorTable, document.get("collector", {}), ("collector",))
        outbox = self._table(OutboxTable, document.get("outbox", {}), ("outbox",))
        loudspeakers = self._table(LoudspeakersTable, document.get("loudspeakers", {}), ("loudspeakers",))
        devices = [self._device(table, index) for index, table in enumerate(self._array(document, "devices"))]
        doors = [
            self._table(DoorTable, table, ("doors", index))
            for index, table in enumerate(self._array(document, "doors"))
        ]
        self._unique([None if entry is None else entry.config.id for entry in devices], "devices", "id")
        self._unique([None if door is None else door.reader for door in doors], "doors", "reader")
        password = None
        if collector is not None:
            password = self._password(collector)
            for key in ("ca_file", "certificate_file", "key_file"):
                self._content(getattr(collector, key), key)
        identity = None if agent is None or collector is None else self._identity(agent, collector)
        if self._problems:
            self._problems += self._missing
        if self._problems or agent is None or collector is None or outbox is None or loudspeakers is None:
            raise InvalidSettings(self._file, self._problems)
        name = identity.agent if identity is not None else agent.id or ""
        area = identity.record.area if identity is not None else agent.area or ""
        drivers = tuple(entry for entry in devices if entry is not None)
        rules = tuple(door for door in doors if door is not None)
        settings = Settings(
            self._file,
            self._text,
            name,
            area,
            identity,
            agent,
            collector,
            outbox,
            drivers,
            rules,
            password,
            loudspeakers,
        )
        if self._missing:
            raise NotEnrolled(settings, self._missing)
        return settings

    def _identity(self, agent: AgentTable, collector: CollectorTable) -> Identity | None:
        """Return the identity of an enrolled agent, None where the configuration says all."""
        if collector.by_hand:
            for table, key in (
                ("agent", "id"),
                ("agent", "area"),
                ("collector", "broker"),
                ("collector", "command_key"),
            ):
                if getattr(agent if table == "agent" else collector, key) is None:
                    self._add((table, key), "this key is required")
            return None
        # Half a megabyte that an agent without one does without.
        from village_agent.identity.folder import InvalidIdentity, read_identity

        folder = state_folder(self._file, agent.state_dir)
        try:
            identity = read_identity(folder)
        except InvalidIdentity as error:
            self._add((), str(error))
            return None
        if identity is None:
            advice = f"run `village-agent enroll URL TOKEN --state-dir {folder}` first"
            self._missing = [problem_at(self._text, (), f"this box has no identity in {folder}: {advice}")]
            return None
        for key, given, right in (("id", agent.id, identity.agent), ("area", agent.area, identity.record.area)):
            if given not in {None, right}:
                self._add(
                    ("agent", key),
                    f"the collector has enrolled this box with {right!r}; remove the key, or enrol it again",
                )
        return identity

    def _add(self, place: tuple[str | int, ...], reason: str) -> None:
        self._problems.append(problem_at(self._text, place, reason))

    def _table(self, model: type[_M], table: object, place: tuple[str | int, ...]) -> _M | None:
        try:
            return model.model_validate(table)
        except ValidationError as error:
            self._problems += problems_of(error, self._text, place)
            return None

    def _array(self, document: dict[str, Any], key: str) -> list[Any]:
        array = document.get(key, [])
        if not isinstance(array, list):
            self._add((key,), f"write [[{key}]], once for each")
            return []
        if len(array) > MAX_DEVICES:
            self._add((key,), f"more than {MAX_DEVICES}")
            return []
        return array

    def _device(self, table: object, index: int) -> DriverEntry | None:
        place: tuple[str | int, ...] = ("devices", index, "driver")
        name = table.get("driver") if isinstance(table, dict) else None
        if not isinstance(name, str) or name not in DRIVERS:
            reason = "this key is required" if name is None else f"unknown driver {str(name)[:40]!r}"
            self._add(place, f"{reason}; known are {', '.join(DRIVERS)}")
            return None
        try:
            driver = DRIVERS[name].load()
        except ImportError as error:
            self._add(place, f"the driver {name} can't be loaded: {error}; install village-edge[agent]")
            return None
        config = self._table(driver.Config, table, ("devices", index))
        return None if config is None else DriverEntry(driver, config)

    def _unique(self, names: list[str | None], table: str, key: str) -> None:
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            if name is not None and first.setdefault(name, index) != index:
                self._add((table, index, key), f"{name!r} is already used by {table}.{first[name]}.{key}")

    def _password(self, collector: CollectorTable) -> SecretStr | None:
        content = self._content(collector.password_file, "password_file")
        if content is None:
            return None
        try:
            secret = content.decode().strip("\r\n")
        except UnicodeDecodeError:
            secret = ""
        if not secret or "\n" in secret or len(secret) > MAX_SECRET:
            self._add(("collector", "password_file"), "the file must hold the password on one line and nothing else")
            return None
        return SecretStr(secret)

    def _content(self, path: Path | None, key: str) -> bytes | None:
        if path is None:
            return None
        try:
            with (self._file.parent / path).open("rb") as stream:
                return stream.read(MAX_SECRET + 3)
        except OSError as error:
            self._add(("collector", key), f"{path}: {error.strerror}")
            return None
