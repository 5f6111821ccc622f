"""Which keys sign commands now: a numbered document signed by the collector's authority, whose certificate the agent has pinned.

The authority's key signs nothing else that agents act on, so a command key in wrong hands can't name its own successor. A document
with a number that is not greater than the known one changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from village_wire import signed
from village_wire.clocks import Instant
from village_wire.events import first_problem

#: A document with three keys has some 500 bytes.
MAX_KEYS_BYTES = 4096
MAX_KEYS = 4
_DOMAIN = b"village-edge command keys 1\n"


class InvalidKeys(ValueError):
    """Not a document of command keys signed by the authority; the text is the reason."""


def _check_key(text: str) -> str:
    signed.decode_public_key(text)
    return text


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CommandKey(_Model):
    """One key (base64, Ed25519). From `until` on nothing that it signed counts; None has no end yet."""

    key: Annotated[str, Field(max_length=64), AfterValidator(_check_key)]
    until: Instant | None = None

    @property
    def public(self) -> Ed25519PublicKey:
        """The key itself."""
        return signed.decode_public_key(self.key)


class CommandKeys(_Model):
    """All keys that count, under a number that grows with every change."""

    number: Annotated[int, Field(ge=1, lt=2**31)]
    keys: Annotated[tuple[CommandKey, ...], Field(min_length=1, max_length=MAX_KEYS)]


def sign_command_keys(keys: CommandKeys, authority: EllipticCurvePrivateKey) -> dict[str, Any]:
    """Return the signed document."""
    return signed.sign(
        keys.model_dump_json(exclude_none=True), _DOMAIN, lambda covered: authority.sign(covered, ECDSA(SHA256()))
    )


def read_command_keys(payload: bytes, authority: EllipticCurvePublicKey) -> CommandKeys:
    """Return the keys of a document with a good signature; raises `InvalidKeys`."""
    try:
        found = signed.read(payload, _DOMAIN, MAX_KEYS_BYTES)
        authority.verify(found.signature, found.covered, ECDSA(SHA256()))
        return CommandKeys.model_validate(found.message)
    except signed.NotSigned as error:
        raise InvalidKeys(str(error)) from None
    except InvalidSignature:
        raise InvalidKeys("not signed by the collector's authority") from None
    except ValidationError as error:
        raise InvalidKeys(first_problem(error)) from None
