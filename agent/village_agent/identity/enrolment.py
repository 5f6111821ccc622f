"""Enrols this box at a collector, and renews its certificate. Blocks.

Whom to trust is in the token: the authority's fingerprint. What the collector answers is checked against that authority before it
counts. The key is on disk before the request leaves, so that a call after a lost answer asks for the same thing and gets the same answer.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from village_agent.clock.system import synchronised_ns
from village_agent.https import Answer, NotReached, call, trust
from village_agent.identity.certificates import (
    BadCertificate,
    Facts,
    check_certificate,
    load_key,
    make_key,
    pem,
    read_certificates,
    sign_renewal,
    signing_request,
)
from village_agent.identity.folder import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    Identity,
    Record,
    read_key,
    write_identity,
    write_key,
)
from village_wire import signed
from village_wire.address import BrokerAddress
from village_wire.command_keys import InvalidKeys, read_command_keys
from village_wire.enrolment import (
    MAX_MESSAGE_BYTES,
    Credentials,
    EnrolmentRequest,
    EnrolmentToken,
    InvalidEnrolment,
    RenewalRequest,
    fingerprint,
    read_enrolment,
)


class InvalidUrl(ValueError):
    """Not the URL of a collector's API; the text is the reason."""


class Impostor(Exception):
    """Whoever answers is not the collector that the token is from; the text says more."""


class Refused(Exception):
    """The collector refuses. `advice` says what to do, by language (`en`, `zh`); it may be empty."""

    def __init__(self, reason: str, advice: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Issued:
    """Checked credentials, ready to be written."""

    record: Record
    files: Mapping[str, bytes]
    document: bytes


def check_url(url: str) -> str:
    """Return the URL of an API without a slash at its end; raises `InvalidUrl`."""
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError as error:
        raise InvalidUrl(f"{url[:200]}: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidUrl(
            f"{url[:200]!r} is not the collector's address; it looks like https://collector.example.cn:8480"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidUrl("the collector's address has neither a user, nor `?`, nor `#`")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise InvalidUrl(
            "http:// is for this machine only, because anybody on the way could use the token; use https://"
        )
    return url.rstrip("/")


def enrol(url: str, token: EnrolmentToken, state_dir: Path, say: Callable[[str], None] = lambda _: None) -> Identity:
    """Make this box the agent that the token is for, in place of whatever it was. The caller has locked the state directory.

    Raises:
        InvalidUrl, NotReached, Impostor, Refused: see there.
        InvalidEnrolment: the answer is not in order.
        OSError: the disk refuses.
    """
    url = check_url(url)
    key_pem = _pending_key(state_dir, None)
    authority = _fetch_authority(url, token)
    say("the authority is the one that the token names")
    # The token itself says whom to trust; this box may not know the date.
    context = trust(authority, check_time=synchronised_ns() is not None)
    request = EnrolmentRequest(token=str(token), request=pem(signing_request(load_key(key_pem))))
    answer = _post(f"{url}/api/v1/enrolments", request.model_dump_json(), context)
    issued = _check(answer, key_pem, authority.encode())
    return write_identity(state_dir, issued.record, issued.files, issued.document)


def renew(identity: Identity, state_dir: Path) -> Issued:
    """Return new credentials for this agent, for a new key; nothing is written but that key.

    Raises:
        InvalidUrl, NotReached, Refused, InvalidEnrolment, OSError: as `enrol`.
    """
    url = check_url(identity.record.api)
    present = load_key(identity.key_file.read_bytes())
    authority = identity.ca_file.read_bytes()
    key_pem = _pending_key(state_dir, identity.key_file.read_bytes())
    request = signing_request(load_key(key_pem))
    renewal = RenewalRequest(
        certificate=identity.certificate_file.read_text(),
        request=pem(request),
        signature=sign_renewal(request, present),
    )
    context = trust(authority.decode(), check_time=synchronised_ns() is not None)
    answer = _post(f"{url}/api/v1/renewals", renewal.model_dump_json(), context)
    issued = _check(answer, key_pem, authority)
    if issued.record.agent != identity.agent:
        raise InvalidEnrolment(f"the new certificate is for {issued.record.agent}, not for {identity.agent}")
    return issued


def _pending_key(state_dir: Path, present: bytes | None) -> bytes:
    """Return the key of a request that has had no answer, else a new one; never `present`."""
    pending = read_key(state_dir)
    if pending is not None and pending != present:
        try:
            load_key(pending)
            return pending
        except BadCertificate:
            # Nothing was issued for it.
            pass
    made = make_key()
    write_key(state_dir, made)
    return made


def _fetch_authority(url: str, token: EnrolmentToken) -> str:
    context = trust(None, check=False) if url.startswith("https:") else None
    answer = call("GET", f"{url}/api/v1/authority", context, limit=MAX_MESSAGE_BYTES)
    if answer.status != 200:
        _raise_refusal(answer)
    text = answer.body.decode("ascii", "replace")
    try:
        der = ssl.PEM_cert_to_DER_cert(text.strip())
        if len(read_certificates(answer.body)) != 1:
            raise ValueError
    except (ValueError, BadCertificate):
        raise InvalidEnrolment(f"{url} shows no authority; is it the collector's address?") from None
    if not secrets.compare_digest(fingerprint(der), token.fingerprint):
        raise Impostor(
            f"{url} has another authority than the token names. Either the address is another collector's, or somebody on the way"
            " pretends to be it. Nothing was sent; compare the address with the one that `village agent add` printed."
        )
    return text


def _post(url: str, body: str, context: ssl.SSLContext) -> Answer:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    answer = call(
        "POST",
        url,
        context if url.startswith("https:") else None,
        limit=MAX_MESSAGE_BYTES,
        body=body.encode(),
        headers=headers,
    )
    if answer.status not in {200, 201}:
        _raise_refusal(answer)
    return answer


def _check(answer: Answer, key: bytes, authority: bytes) -> Issued:
    """Return what was issued; raises `InvalidEnrolment`."""
    credentials = read_enrolment(Credentials, answer.body)
    certificate = credentials.certificate.encode()
    try:
        facts = check_certificate(certificate, key, authority)
        named = read_certificates(credentials.authority.encode())
        if list(named) != list(read_certificates(authority)):
            raise BadCertificate("the answer names other authorities")
        document = signed.encode(credentials.command_keys)
        read_command_keys(document, _authority_key(authority))
        BrokerAddress(credentials.broker).check()
        check_url(credentials.api)
    except (BadCertificate, InvalidKeys, ValueError) as error:
        raise InvalidEnrolment(f"the collector's answer is not in order: {error}") from None
    if facts.agent != credentials.agent:
        raise InvalidEnrolment(f"the certificate is for {facts.agent[:80]!r}, the answer for {credentials.agent!r}")
    files = {KEY: key, CERTIFICATE: certificate, AUTHORITY: authority}
    return Issued(_record(credentials, facts), files, document)


def _authority_key(authority: bytes) -> Any:
    return read_certificates(authority)[0].public_key()


def _record(credentials: Credentials, facts: Facts) -> Record:
    return Record(
        agent=credentials.agent,
        area=credentials.area,
        broker=credentials.broker,
        api=credentials.api,
        issued=facts.issued,
        expires=facts.expires,
        authority_key=facts.authority_key,
    )


def _raise_refusal(answer: Answer) -> None:
    """Raise what an answer says that is not the wanted one; problem documents (RFC 9457) carry a reason and advice."""
    if 300 <= answer.status < 400:
        raise Refused(f"the collector answers {answer.status} with another address, which is not followed", {})
    try:
        document = json.loads(answer.body)
        detail, advice = str(document["detail"])[:500], document.get("advice")
    except (ValueError, TypeError, KeyError, RecursionError):
        detail, advice = f"it answers {answer.status} {answer.reason}", None
    texts = (
        {name: str(advice[name])[:500] for name in ("en", "zh") if name in advice} if isinstance(advice, dict) else {}
    )
    if answer.status >= 500 or answer.status == 429:
        raise NotReached(f"the collector can't help at the moment: {detail}")
    raise Refused(detail, texts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
