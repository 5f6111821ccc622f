"""The sound that an alert brings with it, taken in like any other; a text can always be spoken in its place."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Sequence

from village_collector.broadcasts.audio import AudioFiles, FolderFull, TooLarge, TooManyAtOnce
from village_collector.broadcasts.normalising import BadAudio, NoConverter
from village_collector.cap.alert import Resource
from village_collector.ports import StoreUnavailable
from village_wire.broadcasts import Audio

#: A minute of speech is read in one second; whoever must take cover does not wait for more.
TAKE_IN_SECONDS = 20.0


async def first_sound(resources: Sequence[Resource], files: AudioFiles) -> tuple[Audio | None, str]:
    """Return the first sound that can be played, or None and why there is none ("" without any to try)."""
    reasons = []
    for resource in resources:
        try:
            content = decoded(resource)
            async with asyncio.timeout(TAKE_IN_SECONDS):
                return await files.take_in(_in_one(content)), ""
        except TimeoutError:
            reasons.append(f"took longer than {TAKE_IN_SECONDS:g} seconds to read")
        except OSError as error:
            reasons.append(error.strerror or "the disk takes nothing")
        except (ValueError, BadAudio, NoConverter, TooManyAtOnce, TooLarge, FolderFull, StoreUnavailable) as error:
            reasons.append(str(error))
    return None, "; ".join(dict.fromkeys(reasons))


def decoded(resource: Resource) -> bytes:
    """Return the file inside a resource.

    Raises:
        ValueError: it is not base64, or not of the size or SHA-1 that the resource says.
    """
    try:
        content = base64.b64decode("".join(resource.deref_uri.split()), validate=True)
    except binascii.Error:
        raise ValueError("derefUri is not base64") from None
    if resource.size is not None and resource.size != len(content):
        raise ValueError(f"{len(content)} bytes, not {resource.size}")
    # The standard knows no other; whether somebody changed it is the signature's to tell.
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if resource.digest and resource.digest.lower() != digest:
        raise ValueError("digest is not its SHA-1")
    return content


async def _in_one(content: bytes) -> AsyncIterator[bytes]:
    yield content
