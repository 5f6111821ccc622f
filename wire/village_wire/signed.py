"""Signed JSON objects: the signature covers the canonical form of the whole object without `signature`.

So whoever verifies one need not know all of its fields. `domain` keeps the signatures of one use apart from those of any other by the same key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class NotSigned(ValueError):
    """Not a signed JSON object; the text is the reason."""


class Signed(NamedTuple):
    """A signed object that nobody has verified yet: `covered` is what `signature` must be of."""

    message: dict[str, Any]
    signature: bytes
    covered: bytes


def canonical(message: dict[str, Any], domain: bytes) -> bytes:
    """Return the bytes that are signed: JSON, keys sorted, no spaces, UTF-8, without `signature`, behind the domain."""
    return domain + encode({key: value for key, value in message.items() if key != "signature"})


def encode(message: dict[str, Any]) -> bytes:
    """Return an object as it travels."""
    return json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sign(content: str, domain: bytes, signer: Callable[[bytes], bytes]) -> dict[str, Any]:
    """Return the object that the JSON text `content` is, with its signature."""
    message: dict[str, Any] = json.loads(content)
    message["signature"] = base64.b64encode(signer(canonical(message, domain))).decode()
    return message


def read(payload: bytes, domain: bytes, max_bytes: int) -> Signed:
    """Take a signed object apart; its signature is yet to be verified. Raises `NotSigned`; nothing longer than `max_bytes` is parsed."""
    if len(payload) > max_bytes:
        raise NotSigned(f"message of {len(payload)} bytes is over the limit of {max_bytes}")
    try:
        message = json.loads(payload)
        if not isinstance(message, dict):
            raise NotSigned("not a JSON object")
        signature = base64.b64decode(str(message.get("signature", "")), validate=True)
        return Signed(message, signature, canonical(message, domain))
    except NotSigned:
        raise
    # `binascii.Error` and what JSON can't be encoded as UTF-8 are such too.
    except (ValueError, RecursionError):
        raise NotSigned("not a signed JSON object") from None


def is_signed(signed: Signed, keys: Iterable[Ed25519PublicKey]) -> bool:
    """Tell whether one of `keys` made the signature."""
    for key in keys:
        try:
            key.verify(signed.signature, signed.covered)
        except InvalidSignature:
            continue
        return True
    return False


def encode_public_key(key: Ed25519PublicKey) -> str:
    """Return the key as base64 text, as it stands in an agent's configuration."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def decode_public_key(text: str) -> Ed25519PublicKey:
    """Read a key from base64 text; raise `ValueError` if it is none."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
