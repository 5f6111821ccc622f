"""The key that signs a voice: made of the command key and the voice's own id, so that every collector with that key has it and no store does."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from village_wire.signed import encode_public_key

_DOMAIN = b"village-edge key of a live voice 1\n"


def voice_key(command_key: Ed25519PrivateKey, stream: UUID) -> Ed25519PrivateKey:
    """Return the key of a voice (HKDF-SHA256, RFC 5869)."""
    seed = HKDF(SHA256(), 32, salt=None, info=_DOMAIN + stream.bytes).derive(command_key.private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(seed)


def find_voice_key(command_keys: Iterable[Ed25519PrivateKey], stream: UUID, public: str) -> Ed25519PrivateKey | None:
    """Return the key of a voice whose public half is known; None if it was made of another command key."""
    keys = (voice_key(command_key, stream) for command_key in command_keys)
    return next((key for key in keys if public_half(key) == public), None)


def public_half(key: Ed25519PrivateKey) -> str:
    """Return the public half as it stands in the signed command."""
    return encode_public_key(key.public_key())
