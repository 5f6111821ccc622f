"""Keeps the broker's files up to date while the collector runs, and sees revocation through to its end.

Whenever somebody was enrolled or revoked: write the files, let mosquitto read them, wait until it refuses the marker of the new list,
then end the connections of those who were revoked. Which are ended stands in a file, so that a restart neither forgets one nor
ends those of boxes that replaced a lost one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from village_collector.config import Settings
from village_collector.data_dir import write_atomically
from village_collector.mosquitto.files import PID, REVOKED
from village_collector.mosquitto.passing import end_connection, has_read
from village_collector.mosquitto.writing import Files, Trusted, broker_names, names, write_files
from village_collector.ports import Problem, StoreUnavailable
from village_collector.trust.authority import Authority
from village_wire.address import BrokerAddress, SessionError

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
#: Each change lets mosquitto read all rules, which keeps it busy for 0.5 s with 5,000 agents; several that come at once are read once.
BETWEEN_WRITES = 1.0
#: The reload is asked for again after so long; a unit of systemd may have missed a change, or is not there.
AGAIN_SECONDS = 3.0
#: After so long it shows in the collector's health.
LATE_SECONDS = 10.0
#: A file that somebody removed or changed is written again after so long.
REWRITE = timedelta(minutes=10)
CLOSED_FILE = "mosquitto_closed.json"


class TrustRecords(Protocol):
    """What the keeper needs of the control store. Methods block on the disk and raise `StoreUnavailable`."""

    def active_agents(self) -> Sequence[tuple[str, str]]:
        """Agents that may connect, each with its area."""

    def collector_subjects(self) -> Sequence[str]:
        """Names in the certificates of collectors."""

    def revoked_certificates(self) -> Sequence[tuple[str, datetime]]:
        """Serial number and time of revocation of each certificate that is revoked and would still be good."""

    def certificate_names(self, serials: Iterable[str]) -> Mapping[str, str]:
        """Whose certificates these are, by serial number."""

    def trust_revision(self) -> int:
        """A number that grows with each change of any of this."""


class Keeper:
    """Give `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        settings: Settings,
        authority: Authority,
        records: TrustRecords,
        name: str,
        address: BrokerAddress,
        admitted: Callable[[], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`name` is that in this collector's certificate, `address` that of the broker, for whose certificate `ca_file` vouches.

        `admitted` is called when the broker has read rules that name this collector for the first time.

        Raises:
            ValueError: the settings name no `files_dir`.
        """
        if settings.broker.files_dir is None:
            raise ValueError("broker.files_dir is not set")
        self._folder = settings.broker.files_dir
        self._closed_file = settings.collector.data_dir / CLOSED_FILE
        self._hosts = tuple(urlsplit(url).hostname or "" for url in (settings.broker.url, settings.broker.public_url))
        self._authority = authority
        self._records = records
        self._name = name
        self._address = address
        self._admitted = admitted
        self._now = now
        self._unnamed = False
        self._revision = -1
        self._written: Files | None = None
        self._write_again = datetime.min.replace(tzinfo=UTC)
        self._read = 0
        self._asked = self._changed = time.monotonic()
        self._revoked: frozenset[str] = frozenset()
        self._closed: frozenset[str] | None = None
        self._problem: Problem | None = None

    def problems(self) -> Sequence[Problem]:
        """What keeps changes from taking hold now; may be called in any thread."""
        problem = self._problem
        return () if problem is None else (problem,)

    async def run(self) -> None:
        """Look twice a second, until cancelled."""
        while True:
            text = await self._step()
            if text and (self._problem is None or self._problem.text != text):
                _log.warning("%s", text)
                since = self._problem.since if self._problem else self._now()
                self._problem = Problem("broker", since, text, status="degraded")
            elif not text:
                self._problem = None
            await asyncio.sleep(LOOK_SECONDS)

    async def prepare(self) -> None:
        """Write the files for the first time, before the collector itself connects; what fails is tried again by `run`."""
        try:
            await asyncio.to_thread(self._write_if_changed)
        except (OSError, ValueError, StoreUnavailable) as error:
            _log.warning("%s: %s", self._folder, error)

    async def _step(self) -> str:
        try:
            await asyncio.to_thread(self._write_if_changed)
        except StoreUnavailable:
            # The store tells this itself; what is on disk stays good.
            return ""
        except OSError as error:
            return (
                f"the broker's files can't be written, {error.filename or self._folder}: {error.strerror};"
                " run `village-collector mosquitto setup` again, or give this user the right to write there"
            )
        except ValueError as error:
            return f"the broker's files can't be written: {error}"
        try:
            return await self._take_hold()
        except (OSError, SessionError) as error:
            # The broker is away, which shows elsewhere, or answers later; what it reads when it starts is on disk.
            _log.debug("the broker's list: %s", error)
            return self._problem.text if self._problem else ""

    def _write_if_changed(self) -> None:
        revision = self._records.trust_revision()
        now = self._now()
        old = self._written
        if old is not None and revision == self._revision and now < min(self._write_again, old.due):
            return
        if old is not None and revision != self._revision and time.monotonic() - self._changed < BETWEEN_WRITES:
            return
        revoked = self._records.revoked_certificates()
        trusted = Trusted(
            dict(self._records.active_agents()),
            sorted({*self._records.collector_subjects(), self._name}),
            revoked,
            broker_names(self._folder, *self._hosts),
        )
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._unnamed = self._unnamed or not names(self._folder, self._name)
        self._written = write_files(self._folder, self._authority, trusted, now)
        self._revision, self._write_again = revision, now + REWRITE
        self._revoked = frozenset(serial for serial, _ in revoked)
        if self._closed is None:
            self._closed = _read_closed(self._closed_file)
        if self._written.changed:
            _log.info("wrote %s for the broker", ", ".join(sorted(self._written.changed)))
            self._asked = self._changed = time.monotonic()
            _ask_to_read(self._folder)

    async def _take_hold(self) -> str:
        written, closed = self._written, self._closed
        if written is None or closed is None:
            return ""
        if self._read != written.marker:
            if not await has_read(self._address, self._authority, written.marker):
                return await asyncio.to_thread(self._ask_again)
            _log.info("the broker has read who may connect, after %.1f s", time.monotonic() - self._changed)
            self._read = written.marker
            if self._unnamed:
                self._unnamed = False
                self._admitted()
        outstanding = self._revoked - closed
        if outstanding:
            owners = await asyncio.to_thread(self._records.certificate_names, outstanding)
            for name in sorted(set(owners.values())):
                await end_connection(self._address, self._authority, name)
                _log.info("ended the connection of %s, whose certificate is revoked", name)
        if self._revoked != closed:
            self._closed = self._revoked
            await asyncio.to_thread(_write_closed, self._closed_file, self._revoked)
        return ""

    def _ask_again(self) -> str:
        if time.monotonic() - self._asked > AGAIN_SECONDS:
            self._asked = time.monotonic()
            # A new file in the folder wakes systemd once more.
            write_atomically(self._folder / REVOKED, (self._folder / REVOKED).read_bytes(), 0o644)
            _ask_to_read(self._folder)
        if time.monotonic() - self._changed < LATE_SECONDS:
            return ""
        return (
            "the broker has not read who may connect now, so whoever was revoked still can: systemctl reload mosquitto,"
            " then see why village-mosquitto-reload.path did not"
        )


def _ask_to_read(folder: Path) -> None:
    """Let a mosquitto of this user read its files anew; for any other one the change of the folder is the sign."""
    try:
        number = int((folder / PID).read_text())
        # The number may belong to another program by now.
        if Path(f"/proc/{number}/comm").read_text().strip() == "mosquitto":
            os.kill(number, signal.SIGHUP)
    except (OSError, ValueError):
        return


def _read_closed(path: Path) -> frozenset[str]:
    try:
        return frozenset(map(str, json.loads(path.read_bytes())["serials"]))
    except (OSError, ValueError, KeyError, TypeError):
        # At worst connections are ended once more.
        return frozenset()


def _write_closed(path: Path, serials: Iterable[str]) -> None:
    write_atomically(path, json.dumps({"serials": sorted(serials)}).encode(), 0o600)
