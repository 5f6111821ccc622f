"""Enrolment: tokens for boxes, certificates for their keys, and their end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from village_collector.audit import Audit
from village_collector.stores.control import ControlStore
from village_collector.stores.identity_records import Enrolled, EnrolmentRefused
from village_collector.trust.attempts import Attempts
from village_collector.trust.authority import Authority, Issued, key_digest
from village_collector.trust.signing_requests import InvalidRequest, read_request
from village_wire.enrolment import (
    RENEWAL_DOMAIN,
    SECRET_BYTES,
    Credentials,
    EnrolmentRequest,
    EnrolmentToken,
    InvalidToken,
    RenewalRequest,
    read_token,
)

DEFAULT_HOURS = 24
#: A token on a piece of paper should not work for whoever finds it.
MAX_HOURS = 7 * 24
#: Ids that look like those of collectors at the broker.
RESERVED = "collector-"


class TooOften(Exception):
    """Ask again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many requests for certificates; try again in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where agents find the broker and the API, as URLs."""

    broker: str
    api: str


class Enrolment:
    """Records every act in the audit log before its effect leaves the collector. Lives in the event loop."""

    def __init__(
        self,
        control: ControlStore,
        authority: Authority,
        audit: Audit,
        document: Callable[[], Mapping[str, Any]],
        addresses: Addresses,
        *,
        changed: Callable[[], Awaitable[None]] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`document` returns the signed command keys; `changed` is awaited when somebody may connect, or not any more."""
        self._control = control
        self._authority = authority
        self._audit = audit
        self._document = document
        self._addresses = addresses
        self._changed = changed
        self._now = now
        self._clock = clock
        self._attempts = Attempts()

    @property
    def certificate(self) -> str:
        """The authority's certificate (PEM)."""
        return self._authority.certificate_pem

    async def add(
        self, agent: str, area: str, hours: int, person: str, address: str
    ) -> tuple[EnrolmentToken, datetime]:
        """Return a token that makes a box this agent, once, and its end. The agent's present box stays what it is until then.

        Raises:
            StoreUnavailable: there is none.
        """
        token = EnrolmentToken(secrets.token_bytes(SECRET_BYTES), self._authority.fingerprint)
        now = self._now()
        expires = now + timedelta(hours=hours)
        reason = f"a token for {hours} h"
        await self._audit.record(person, address, "agent.add", target=agent, area=area, reason=reason)
        await asyncio.to_thread(self._control.add_enrolment, _digest(token), agent, area, person, now, expires)
        await self._tell()
        return token, expires

    async def revoke(self, agent: str, area: str, person: str, address: str) -> None:
        """Take an agent its certificates and tokens. Raises `StoreUnavailable`: nothing was taken."""
        await self._audit.record(person, address, "agent.revoke", target=agent, area=area)
        await asyncio.to_thread(self._control.revoke, agent, self._now(), area)
        await self._tell()

    async def enrol(self, request: EnrolmentRequest, address: str) -> Credentials:
        """Give a box the certificate for its token.

        Raises:
            TooOften: nothing was looked at.
            InvalidRequest, InvalidToken, EnrolmentRefused: it gets none, which stands in the audit log.
            StoreUnavailable: it may ask again, with the same key.
        """
        self._admit(address)
        try:
            enrolled = await asyncio.to_thread(self._enrol, request)
        except (InvalidRequest, InvalidToken, EnrolmentRefused) as error:
            await self._refused(error, address, "agent.enrol")
            raise
        return await self._answer(enrolled, address, "agent.enrol")

    async def renew(self, request: RenewalRequest, address: str) -> Credentials:
        """Give an agent its next certificate, for the proof that it has the key of the present one.

        Raises:
            TooOften: nothing was looked at.
            InvalidRequest, EnrolmentRefused: it gets none, which stands in the audit log.
            StoreUnavailable: it may ask again.
        """
        self._admit(address)
        try:
            enrolled = await asyncio.to_thread(self._renew, request)
        except (InvalidRequest, EnrolmentRefused) as error:
            await self._refused(error, address, "agent.renew")
            raise
        return await self._answer(enrolled, address, "agent.renew")

    def _admit(self, address: str) -> None:
        seconds = self._attempts.wait(address, self._clock())
        if seconds > 0:
            raise TooOften(seconds)

    async def _refused(self, error: Exception, address: str, action: str) -> None:
        self._attempts.wrong(address, self._clock())
        agent, area = (error.agent, error.area) if isinstance(error, EnrolmentRefused) else ("", "")
        await self._audit.refused("", address, action, target=agent, area=area, reason=str(error))

    async def _answer(self, enrolled: Enrolled, address: str, action: str) -> Credentials:
        # The certificate is on disk, and of no use before it is handed over: that is the act.
        reason = "once more: the answer was lost" if enrolled.repeated else ""
        actor = f"agent:{enrolled.agent}"
        await self._audit.record(actor, address, action, target=enrolled.agent, area=enrolled.area, reason=reason)
        if not enrolled.repeated:
            await self._tell()
        return Credentials(
            agent=enrolled.agent,
            area=enrolled.area,
            certificate=enrolled.certificate,
            authority=self.certificate,
            broker=self._addresses.broker,
            api=self._addresses.api,
            command_keys=dict(self._document()),
        )

    async def _tell(self) -> None:
        if self._changed is not None:
            await self._changed()

    def _enrol(self, request: EnrolmentRequest) -> Enrolled:
        token = read_token(request.token)
        if token.fingerprint != self._authority.fingerprint:
            raise EnrolmentRefused("the token is of another collector")
        key = read_request(request.request)
        now = self._now()
        return self._control.use_enrolment(_digest(token), key_digest(key), now, self._issue(request.request, now))

    def _renew(self, request: RenewalRequest) -> Enrolled:
        present = self._present(request.certificate)
        key = read_request(request.request)
        wanted = x509.load_pem_x509_csr(request.request.encode())
        owner = present.public_key()
        try:
            signature = base64.b64decode(request.signature, validate=True)
            if not isinstance(owner, EllipticCurvePublicKey):
                raise InvalidSignature
            owner.verify(signature, RENEWAL_DOMAIN + wanted.public_bytes(Encoding.DER), ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            raise EnrolmentRefused("the renewal is not signed with the key of the certificate") from None
        now = self._now()
        serial = f"{present.serial_number:x}"
        return self._control.renew(serial, key_digest(key), now, self._issue(request.request, now))

    def _present(self, pem: str) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
            certificate.verify_directly_issued_by(self._authority.certificate)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            raise EnrolmentRefused("not a certificate of this collector's authority in PEM") from None
        return certificate

    def _issue(self, request: str, now: datetime) -> Callable[[str], Issued]:
        return lambda agent: self._authority.issue_agent(request, agent, now)


def _digest(token: EnrolmentToken) -> str:
    return hashlib.sha256(token.secret).hexdigest()
