"""How a box becomes an agent: the token that a person carries to it, its request, and the answer (HTTP, JSON).

A token names the collector's authority by the first 16 bytes of the SHA-256 of its certificate, so that the box knows whom it talks to
although it has never seen it: it fetches the authority's certificate, compares, and takes certificates and command keys from nobody else.
(The API's own certificate may also be one that the system's store trusts.)
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from village_wire.areas import Area
from village_wire.events import first_problem
from village_wire.ids import AgentId

SECRET_BYTES = 16
FINGERPRINT_BYTES = 16
#: Requests and answers hold a few certificates of about 1 kB each.
MAX_MESSAGE_BYTES = 32 * 1024
#: What the key of the present certificate signs before the DER of the next signing request.
RENEWAL_DOMAIN = b"village-edge renewal 1\n"
_TOKEN = re.compile(r"ve1\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{22})", re.ASCII)

Pem = Annotated[str, Field(max_length=16 * 1024)]


class InvalidToken(ValueError):
    """The text is not an enrolment token."""


class InvalidEnrolment(ValueError):
    """The message is not a request or an answer of enrolment; the text is the reason."""


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """What the text of a token holds. `secret` works once; `fingerprint` is the authority's."""

    secret: bytes
    fingerprint: bytes

    def __str__(self) -> str:
        return f"ve1.{_encode(self.secret)}.{_encode(self.fingerprint)}"

    def __repr__(self) -> str:
        return "EnrolmentToken(…)"


def read_token(text: str) -> EnrolmentToken:
    """Take a token apart; raise `InvalidToken` for any other text."""
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        raise InvalidToken("not an enrolment token; `village agent add` prints one that begins with ve1.")
    return EnrolmentToken(_decode(match[1]), _decode(match[2]))


def fingerprint(certificate_der: bytes) -> bytes:
    """Return what a token holds of an authority's certificate (DER)."""
    return hashlib.sha256(certificate_der).digest()[:FINGERPRINT_BYTES]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class EnrolmentRequest(_Model):
    """`POST /api/v1/enrolments`. `request` is a PEM signing request for an EC P-256 key; its subject is not looked at."""

    token: Annotated[str, Field(max_length=100, repr=False)]
    request: Pem


class RenewalRequest(_Model):
    """`POST /api/v1/renewals`.

    `signature` (base64) is that of the key of `certificate`: ECDSA with SHA-256 over `RENEWAL_DOMAIN` and the DER of `request`.
    """

    certificate: Pem
    request: Pem
    signature: Annotated[str, Field(max_length=200)]


class Credentials(_Model):
    """The answer to both. `authority` are the certificates to trust (PEM), `broker` and `api` URLs for agents.

    `command_keys` is a document signed by the authority, see `village_wire.command_keys`.
    """

    agent: AgentId
    area: Area
    certificate: Pem
    authority: Pem
    broker: Annotated[str, Field(max_length=300)]
    api: Annotated[str, Field(max_length=300)]
    command_keys: dict[str, Any]


_M = TypeVar("_M", EnrolmentRequest, RenewalRequest, Credentials)


def read_enrolment(model: type[_M], text: bytes) -> _M:
    """Read a message of enrolment; raise `InvalidEnrolment` for anything else."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise InvalidEnrolment(f"message of {len(text)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise InvalidEnrolment(first_problem(error)) from None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")
