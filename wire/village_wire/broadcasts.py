"""What a broadcast is made of: its class, its sound, and where it stands on one loudspeaker."""

from __future__ import annotations

from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.types import UuidVersion

Class = Literal["emergency", "alert", "notice", "routine", "background"]
#: From the highest to the lowest.
CLASSES: tuple[Class, ...] = get_args(Class)

#: `ready` is of live voice alone: amplifier on, chime over, the loudspeaker listens; a `reason` tells why it may not be heard even so.
Stage = Literal[
    "queued",
    "fetched",
    "ready",
    "started",
    "paused",
    "resumed",
    "finished",
    "preempted",
    "failed",
    "skipped",
    "cancelled",
]
#: After one of these nothing more happens on that loudspeaker.
FINAL: frozenset[Stage] = frozenset({"finished", "preempted", "failed", "skipped", "cancelled"})

#: What a broadcast is about, for reports of publicity.
Category = Literal["anti_fraud", "law", "weather", "fire", "news", "music", "other"]
CATEGORIES: tuple[Category, ...] = get_args(Category)

#: An hour of speech at 24 kbit/s takes 11 MB.
MAX_AUDIO_BYTES = 50_000_000
MAX_AUDIO_SECONDS = 4 * 3600.0


class Audio(BaseModel):
    """A sound file by its content: Ogg Opus, mono, 48 kHz. `token` is what the collector asks for when an agent fetches it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, le=MAX_AUDIO_BYTES)]
    seconds: Annotated[float, Field(gt=0, le=MAX_AUDIO_SECONDS)]
    token: Annotated[str, Field(max_length=100, repr=False)]


class Track(BaseModel):
    """A recording on the loudspeaker's own card, by the folder's number and its own there; folder 0 is for tracks without a folder.

    What it is, and how long, only those know who filled the card.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    folder: Annotated[int, Field(ge=0, le=99)] = 0
    number: Annotated[int, Field(ge=1, le=9999)]

    @property
    def place(self) -> str:
        """`3`, or `2/15` in a folder."""
        return f"{self.folder}/{self.number}" if self.folder else str(self.number)


#: A device is a loudspeaker if it has one of these abilities: it speaks or plays what it is sent, or plays what it has.
LOUDSPEAKER_ABILITIES = ("loudspeaker", "track_player")

#: Whoever has more to say speaks again.
MAX_LIVE_SECONDS = 2 * 3600.0


class Voice(BaseModel):
    """Live voice, see `village_wire.live`: which stream, and the Ed25519 key (base64) that signs its packets and nothing else."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stream: Annotated[UUID, UuidVersion(7)]
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
    codec: Literal["opus"] = "opus"
