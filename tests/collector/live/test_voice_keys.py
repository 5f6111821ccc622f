"""The key of a voice comes from the command key alone, and is another one for each voice."""

from __future__ import annotations

from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.live.voice_keys import find_voice_key, public_half, voice_key

COMMAND_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STREAM = UUID("0192aaaa-0000-7000-8000-000000000001")


def test_collectors_of_every_version_make_the_same_key() -> None:
    assert public_half(voice_key(COMMAND_KEY, STREAM)) == "UjfgiPGELQxtiy0AhnNPJOjPeFEy1X8vHnB3sKCcZzc="


def test_each_voice_and_each_command_key_has_its_own() -> None:
    other = Ed25519PrivateKey.generate()
    keys = [
        voice_key(command_key, stream)
        for command_key in (COMMAND_KEY, other)
        for stream in (STREAM, UUID(int=STREAM.int + 1))
    ]
    publics = {public_half(key) for key in (*keys, COMMAND_KEY, other)}
    assert len(publics) == 6


def test_while_command_keys_change_the_right_one_is_found() -> None:
    following = Ed25519PrivateKey.generate()
    key = voice_key(COMMAND_KEY, STREAM)
    found = find_voice_key((following, COMMAND_KEY), STREAM, public_half(key))
    assert found is not None
    assert found.private_bytes_raw() == key.private_bytes_raw()
    assert find_voice_key((following,), STREAM, public_half(key)) is None
