"""The audit log: what is done and what is refused is on disk before the answer, and sealed at intervals."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from village_collector.data_dir import write_atomically
from village_collector.ports import StoreUnavailable
from village_collector.refusals import Flood, RefusalLimit
from village_collector.stores.audit_records import Appended, AuditRecords, Sign
from village_wire.audit import Act, Head, Outcome, Seal, cleaned, is_genuine, sign_seal
from village_wire.clocks import format_time
from village_wire.signed import encode_public_key

_log = logging.getLogger(__name__)

#: What was not sealed can be changed by whoever writes to the database, so it is sealed soon.
SEAL_SECONDS = 600.0
#: A flood is told so long after its minute at the latest.
_LOOK_SECONDS = 15.0
#: Acts of one transaction; what waits behind them goes into the next.
_AT_ONCE = 500
_KEPT_BYTES = 4096


class Audit:
    """Records acts. Lives in the event loop; acts of one moment share one transaction."""

    def __init__(
        self,
        records: AuditRecords,
        key: Ed25519PrivateKey | None = None,
        kept: Path | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key` signs the seals; without it there are none. `kept` is a file outside the database that holds the last seal."""
        self._records = records
        self._key = key
        self._kept = kept
        self._now = now
        self._clock = clock
        self._limit = RefusalLimit()
        self._waiting: list[tuple[Act, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._known: Head | None = None

    @property
    def public_key(self) -> Ed25519PublicKey | None:
        """The key that proves the seals."""
        return None if self._key is None else self._key.public_key()

    async def record(
        self,
        actor: str,
        address: str,
        action: str,
        *,
        target: str = "",
        area: str = "",
        outcome: Outcome = "allowed",
        reason: str = "",
        command: str = "",
    ) -> None:
        """Record an act of a person (`actor`) at an address, such as `door.unlock` of `gate-1/reader`; on disk on return.

        Texts must hold no secret. For refusals see `refused`.

        Raises:
            StoreUnavailable: it is not recorded, so the act must not be done.
        """
        act = Act(self._now(), actor, address, action, target, area, outcome, reason, command)
        recorded = asyncio.get_running_loop().create_future()
        self._waiting.append((cleaned(act), recorded))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="audit")
        await recorded

    async def refused(
        self, actor: str, address: str, action: str, *, target: str = "", area: str = "", reason: str = ""
    ) -> None:
        """Record a refusal, "" as `actor` for an unknown caller; beyond 60 a minute of one actor they are counted, and the count recorded.

        It never raises `StoreUnavailable`: what is refused is not done, recorded or not.
        """
        await self._tell(self._limit.ended(self._clock()))
        if not self._limit.admit(actor, address, self._clock()):
            return
        try:
            await self.record(actor, address, action, target=target, area=area, outcome="refused", reason=reason)
        except StoreUnavailable as error:
            _log.warning("a refusal of %s to %r at %s is not in the audit log: %s", action, actor, address, error)

    async def failed(
        self,
        actor: str,
        address: str,
        action: str,
        *,
        target: str = "",
        area: str = "",
        reason: str = "",
        command: str = "",
    ) -> None:
        """Record that an act came to nothing; a store that can't take it is logged, since the caller has an error to tell already."""
        try:
            await self.record(
                actor, address, action, target=target, area=area, outcome="failed", reason=reason, command=command
            )
        except StoreUnavailable as error:
            _log.warning("a failed %s of %r is not in the audit log: %s", action, actor, error)

    async def run(self, seal_seconds: float = SEAL_SECONDS) -> None:
        """Seal what is unsealed, at once and then at intervals, and tell of floods, until cancelled."""
        if self._key is not None:
            _log.info("the audit log is sealed with the key %s", encode_public_key(self._key.public_key()))
        await self._restore()
        next_seal, failed = self._clock(), False
        while True:
            await self._tell(self._limit.ended(self._clock()))
            if self._clock() >= next_seal:
                try:
                    await self.seal()
                except StoreUnavailable as error:
                    if not failed:
                        _log.warning("the audit log can't be sealed: %s; trying again", error)
                    failed = True
                else:
                    if failed:
                        _log.info("the audit log is sealed again")
                    failed, next_seal = False, self._clock() + seal_seconds
            await asyncio.sleep(min(_LOOK_SECONDS, seal_seconds))

    async def finish(self) -> None:
        """Record what is still counted and seal the end; a store that takes nothing is logged. Call it when no more acts come."""
        await self._tell(self._limit.ended(self._clock(), all_of_them=True))
        if self._writer is not None:
            await asyncio.wait([self._writer])
        try:
            await self.seal()
        except StoreUnavailable as error:
            _log.warning("the end of the audit log is not sealed yet: %s", error)

    async def seal(self) -> None:
        """Seal all entries; raises `StoreUnavailable`."""
        sign = self._sign()
        if sign is None:
            return
        await self._note(await asyncio.to_thread(self._records.seal_audit, sign, self._known))

    async def _write(self) -> None:
        try:
            while self._waiting:
                part, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                acts = [act for act, _ in part]
                try:
                    done = await asyncio.to_thread(self._records.add_audit, acts, self._sign(), self._known)
                except BaseException as error:
                    _settle(part, error if isinstance(error, Exception) else StoreUnavailable("the collector stops"))
                    if not isinstance(error, Exception):
                        raise
                else:
                    _settle(part, None)
                    await self._note(done)
        finally:
            self._writer = None

    def _sign(self) -> Sign | None:
        key, now = self._key, self._now()
        return None if key is None else lambda head: sign_seal(head, now, key)

    async def _note(self, done: Appended) -> None:
        if done.contradiction:
            _log.error(
                "the audit log was tampered with: it does not hold what this collector wrote; `village audit verify` shows where"
            )
        if self._known is None or done.contradiction or done.head.number > self._known.number:
            self._known = done.head
        for seal in done.seals:
            _log.info(
                "audit sealed: number %d, hash %s, signature %s, time %s",
                seal.number,
                seal.hash,
                seal.signature,
                format_time(seal.time),
            )
        if done.seals and self._kept is not None:
            await asyncio.to_thread(_keep, self._kept, done.seals[-1])

    async def _tell(self, floods: list[Flood]) -> None:
        for flood in floods:
            address = next(iter(flood.addresses)) if len(flood.addresses) == 1 else ""
            try:
                await self.record(flood.actor, address, "refusals", outcome="refused", reason=str(flood))
            except StoreUnavailable as error:
                _log.warning("not in the audit log: %s (%s)", flood, error)

    async def _restore(self) -> None:
        if self._kept is None or self._key is None:
            return
        seal = await asyncio.to_thread(_read_kept, self._kept, self._key.public_key())
        if seal is None:
            return
        try:
            gone = await asyncio.to_thread(self._records.restore_seal, seal)
        except StoreUnavailable as error:
            _log.warning("the last seal of the audit log could not be compared: %s", error)
            return
        if gone:
            _log.error(
                "the audit log was tampered with: it lacks what was sealed as number %d; `village audit verify` shows where",
                seal.number,
            )


def _settle(part: list[tuple[Act, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, recorded in part:
        if recorded.done():
            continue
        if error is None:
            recorded.set_result(None)
        else:
            recorded.set_exception(error)


def _keep(path: Path, seal: Seal) -> None:
    document = {**seal._asdict(), "time": format_time(seal.time)}
    try:
        write_atomically(path, json.dumps(document).encode() + b"\n", 0o600)
    except OSError as error:
        _log.warning("%s: %s; the last seal is only in the database and in this log", path, error.strerror)


def _read_kept(path: Path, key: Ed25519PublicKey) -> Seal | None:
    try:
        document = json.loads(path.read_bytes()[:_KEPT_BYTES])
        seal = Seal(**{**document, "time": datetime.fromisoformat(document["time"])})
        return seal if is_genuine(seal, key) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        _log.warning("%s can't be read; it is written anew with the next seal", path)
        return None
