"""This collector's certificate at a broker with TLS: of the own authority, renewed by itself.

A connection keeps the certificate with which it began; the next one reads the files anew, so nothing is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from village_collector.config import Settings, broker_address
from village_collector.data_dir import DataDirProblem
from village_collector.own_certificate import Pair, find_own, write_own
from village_collector.ports import StoreUnavailable
from village_collector.sections import BrokerSection
from village_collector.trust.authority import CERTIFICATE_FILE as AUTHORITY_FILE
from village_collector.trust.authority import Authority, Issued, collector_name
from village_wire.address import BrokerAddress

_log = logging.getLogger(__name__)

CERTIFICATE_FILE, KEY_FILE = "broker.pem", "broker.key"
LOOK_SECONDS = 600.0


class BrokerCertificate:
    """Keeps the files in `data_dir`; each certificate is put on record, since the broker's rules name those who have one."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        name: str,
        record: Callable[[Issued, datetime], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`name` as `collector_name` makes it; `record` blocks, and raises `StoreUnavailable`."""
        self._files = Pair(folder / CERTIFICATE_FILE, folder / KEY_FILE)
        self._authority = authority
        self._name = name
        self._record = record
        self._now = now

    def load(self) -> bool:
        """Issue a certificate if there is none that will do; return whether that was so. Blocks.

        Raises:
            DataDirProblem: it can't be written or issued.
            StoreUnavailable: it can't be put on record.
        """
        found = find_own(self._files, self._authority)
        if found is not None and found.subject == f"CN={self._name}" and found.counts(self._now()):
            return False
        try:
            issued = self._authority.issue_client(self._name, self._now())
        except ValueError as error:
            raise DataDirProblem(f"the certificate for the broker can't be issued: {error}") from None
        self._record(issued, self._now())
        write_own(self._files, issued)
        return True

    async def keep(self) -> None:
        """Renew the certificate in time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await asyncio.to_thread(self.load):
                    _log.info("has a new certificate for the broker")
            except (DataDirProblem, StoreUnavailable) as error:
                _log.warning("the certificate for the broker is not renewed: %s", error)


def name_at_broker(collector_id: str) -> str:
    """Return the name in the certificate of a collector; raises `DataDirProblem` for an id that this program did not make."""
    try:
        return collector_name(collector_id)
    except ValueError as error:
        raise DataDirProblem(f"collector_id in data_dir: {error}; remove the file, and a new one is made") from None


def shows_own(broker: BrokerSection) -> bool:
    """Tell whether the collector logs in at the broker with a certificate of its own authority: none other and no password is set."""
    return BrokerAddress(broker.url).secure and broker.username is None and broker.certificate_file is None


def own_address(settings: Settings, url: str) -> BrokerAddress:
    """Return where the broker is and how to log in, by the own certificate where no other is set.

    Raises:
        InvalidSettings: the file with the password can't be read.
    """
    address = broker_address(settings.broker, url)
    if not shows_own(settings.broker):
        return address
    folder = settings.collector.data_dir
    return replace(
        address,
        ca_file=address.ca_file or settings.collector.keys_folder / AUTHORITY_FILE,
        certificate_file=folder / CERTIFICATE_FILE,
        key_file=folder / KEY_FILE,
    )
