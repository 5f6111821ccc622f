"""The sound that comes with an alert."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.collector.cap.kit import rainstorm
from tests.collector.cap.site import Site
from village_collector.cap.alert import Resource
from village_wire.commands import Broadcast


def sound(content: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    made = Resource("x", "audio/mpeg", deref_uri=base64.b64encode(content).decode(), digest=digest, size=len(content))
    return {"resources": (replace(made, **more),)}


async def test_the_sound_that_comes_with_it_is_played(site: Site) -> None:
    await site.receive(rainstorm(sound(b"some sound")))
    (command,) = site.heard()
    content = command.arguments
    assert isinstance(content, Broadcast)
    assert content.audio is not None
    assert (content.text, content.audio.sha256) == (None, hashlib.sha256(b"some sound").hexdigest())
    assert content.audio.token


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"digest": "0" * 40}, "digest is not its SHA-1"),
        ({"size": 3}, "10 bytes, not 3"),
        ({"deref_uri": "!!"}, "derefUri is not base64"),
        ({"deref_uri": base64.b64encode(b"other").decode(), "digest": "", "size": None}, "it is no sound file"),
    ],
)
async def test_a_bad_sound_leaves_the_text(site: Site, more: dict[str, Any], reason: str) -> None:
    received = await site.receive(rainstorm(sound(b"some sound", **more)))
    (command,) = site.heard()
    assert isinstance(command.arguments, Broadcast)
    assert command.arguments.text
    assert reason in received.alert.document["not_aired"][0]["reason"]
