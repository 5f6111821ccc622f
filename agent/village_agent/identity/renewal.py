"""Renews the certificate from half of its life on, and tells when nothing came of it until its end is near."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from village_agent.disk import DiskThread
from village_agent.identity.folder import Identity, InvalidIdentity, read_identity, write_identity
from village_agent.identity.standing import renewal_due, standing
from village_wire.command_keys import InvalidKeys, read_command_keys
from village_wire.states import Status

_log = logging.getLogger(__name__)

#: The child's steps have limits of their own; one that exceeds this hangs.
CHILD_SECONDS = 150.0
#: Between two attempts: an hour at first, twice as long each time, a day at most; half to all of it, at random.
RETRY_SECONDS, MAX_RETRY_SECONDS = 3600.0, 86_400.0
#: How often the date is looked at: the clock may have been corrected.
LOOK_SECONDS = 3600.0


class RenewalFailed(Exception):
    """No new certificate; the text is the reason."""


class Clock(Protocol):
    """What is needed of a `Timekeeper`."""

    @property
    def known(self) -> asyncio.Event:
        """Set once dates are true."""

    def now(self) -> datetime:
        """The time."""


class Renewal:
    """Keeps one identity good. Give `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        identity: Identity,
        state_dir: Path,
        disk: DiskThread,
        clock: Clock,
        tell: Callable[[Status, str, str], None],
        on_renewed: Callable[[Identity], None],
    ) -> None:
        """`tell` takes a condition of the agent; `on_renewed` is called once the new identity is on disk."""
        self._identity = identity
        self._state_dir = state_dir
        self._disk = disk
        self._clock = clock
        self._tell = tell
        self._on_renewed = on_renewed
        self._problem = ""

    async def run(self) -> None:
        """Serve until cancelled. Nothing happens before the time is known."""
        await self._clock.known.wait()
        while True:
            record = self._identity.record
            due = renewal_due(record.issued, record.expires, random.random())
            while (left := (due - self._clock.now()).total_seconds()) > 0:
                self._tell_standing()
                await asyncio.sleep(min(left, LOOK_SECONDS))
            await self._renew_until_done()
            # A collector whose certificates are past their half when they come must not be asked without a pause.
            await asyncio.sleep(MAX_RETRY_SECONDS * random.uniform(0.5, 1))

    async def _renew_until_done(self) -> None:
        wait = RETRY_SECONDS
        while True:
            try:
                self._identity = await self._renew()
            except RenewalFailed as error:
                if str(error) != self._problem:
                    _log.warning("the certificate is not renewed: %s; trying again", error)
                self._problem = str(error)
                self._tell_standing()
                await asyncio.sleep(wait * random.uniform(0.5, 1))
                wait = min(2 * wait, MAX_RETRY_SECONDS)
                continue
            self._problem = ""
            _log.info("the certificate is renewed: good until %s", f"{self._identity.expires:%Y-%m-%d}")
            self._tell_standing()
            self._on_renewed(self._identity)
            return

    async def _renew(self) -> Identity:
        text = await self._ask()
        try:
            return await self._disk.run(partial(self._take, text))
        except OSError as error:
            raise RenewalFailed(f"{error.filename}: {error.strerror}") from None
        except InvalidIdentity as error:
            raise RenewalFailed(str(error)) from None

    async def _ask(self) -> bytes:
        # `-P`: nothing is imported from the working folder.
        command = [sys.executable, "-P", "-m", "village_agent.identity.renewing", str(self._state_dir)]
        try:
            child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE)
        except OSError as error:
            raise RenewalFailed(f"{error.filename}: {error.strerror}") from None
        try:
            async with asyncio.timeout(CHILD_SECONDS):
                text, _ = await child.communicate()
        except TimeoutError:
            raise RenewalFailed(f"{self._identity.record.api} did not answer within {CHILD_SECONDS:.0f} s") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            reason = text.decode(errors="replace").strip()[:500]
            raise RenewalFailed(reason or f"the renewal ended with exit code {child.returncode}")
        return text

    def _take(self, text: bytes) -> Identity:
        """Write what the child brought. A document of command keys that came meanwhile is not replaced by an older one."""
        # Needed twice a year.
        from village_agent.identity.renewing import read_renewed

        present = read_identity(self._state_dir)
        if present is None:
            raise InvalidIdentity(f"there is no identity in {self._state_dir} any more")
        record, files, document = read_renewed(text, self._state_dir, present.ca_file.read_bytes())
        try:
            if read_command_keys(document, present.authority).number <= present.command_keys.number:
                document = present.document
        except InvalidKeys as error:
            raise InvalidIdentity(str(error)) from None
        return write_identity(self._state_dir, record, files, document)

    def _tell_standing(self) -> None:
        record = self._identity.record
        status, code, evidence = standing(record.issued, record.expires, self._clock.now())
        if status != "ok" and self._problem:
            evidence = f"{evidence}; {self._problem}"
        self._tell(status, code, evidence)
