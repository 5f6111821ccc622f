"""What an agent plays by itself: programmes by the calendar, in a numbered document for each target, signed with the command key.

A document replaces the whole of an earlier one with a smaller number; one without programmes takes them away. It counts for ever: there may be
no link for weeks. An agent says by one digest which documents it has, and is sent those that it lacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Self
from uuid import UUID, uuid5

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from village_wire import signed
from village_wire.broadcasts import Audio, Category, Track
from village_wire.clocks import format_time
from village_wire.commands import MAX_SPOKEN, Target
from village_wire.events import first_problem
from village_wire.recurrence import Recurrence

#: Half of the longest message: some twenty of the longest texts, or hundreds of files.
MAX_SCHEDULE_BYTES = 128 * 1024
#: More than any station plays in a week.
MAX_PROGRAMMES = 50
MAX_ITEMS = 50
#: All areas above a box, itself, and its loudspeakers; some of them once more for each tag.
MAX_DOCUMENTS = 64
#: No programme fills more than four hours: what is due after it would never be heard.
MAX_SECONDS = 4 * 3600
_DOMAIN = b"village-edge schedule 1\n"
_NAMESPACE = UUID("5b1e8f0c-6c52-5b8e-9a53-0d6f3d1f7a11")

#: A programme never interrupts a warning, and never is one.
ProgrammeClass = Literal["notice", "routine", "background"]
ProgrammeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@:+-]{1,120}$")]


class InvalidSchedule(ValueError):
    """Not a schedule that counts; the text is the reason."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Item(_Model):
    """One piece of a playlist: a text that is spoken, a sound file, or a track of the loudspeaker's own card."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_SPOKEN)] | None = None
    audio: Audio | None = None
    track: Track | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if [self.text, self.audio, self.track].count(None) != 2:
            raise ValueError("a piece is either a text, a sound file or a track of the card")
        return self


class Programme(_Model):
    """A playlist and when it is due. No piece of it begins later than `max_seconds` after the programme was due."""

    id: ProgrammeId
    title: Annotated[str, Field(min_length=1, max_length=80)]
    category: Category = "other"
    rank: ProgrammeClass = "routine"
    when: Recurrence
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    volume: Annotated[float, Field(ge=0, le=100)] | None = None
    chime: bool = True
    max_seconds: Annotated[int, Field(ge=10, le=MAX_SECONDS)] = 3600


class Schedule(_Model):
    """All programmes of one target. `number` grows with each change: at least the seconds since 1970, so that a lost database breaks nothing."""

    target: Target
    number: Annotated[int, Field(ge=1, lt=2**53)]
    programmes: Annotated[tuple[Programme, ...], Field(max_length=MAX_PROGRAMMES)] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({programme.id for programme in self.programmes}) < len(self.programmes):
            raise ValueError("two programmes have the same id")
        return self


class Held(NamedTuple):
    """What is told of a document: its target as text, its number and `content_digest`."""

    target: str
    number: int
    content: str


def target_text(target: Target) -> str:
    """Return `441900003001`, `agent/gate-1` or `agent/gate-1/speaker`, narrowed as in `441900003001/tag:school`."""
    return str(target) if target.area is not None else f"agent/{target}"


def concerns(target: Target, agent: str, areas: Collection[str]) -> bool:
    """Tell whether an agent in some areas (its own and all above it) keeps what is for a target.

    Tags are no matter here: an agent of which no device carries one keeps the programmes all the same, until one does.
    """
    return target.area in areas if target.area is not None else target.agent == agent


def occurrence_id(target: Target, programme: str, due: datetime, item: int) -> UUID:
    """Return the broadcast id of one piece at one time: the same on every loudspeaker, and after any restart."""
    return uuid5(_NAMESPACE, f"{target_text(target)} {programme} {format_time(due)} {item}")


def sign_schedule(schedule: Schedule, key: Ed25519PrivateKey) -> bytes:
    """Return the payload of a message; raises `InvalidSchedule` for a document that is too long."""
    payload = signed.encode(signed.sign(schedule.model_dump_json(exclude_none=True), _DOMAIN, key.sign))
    if len(payload) > MAX_SCHEDULE_BYTES:
        raise InvalidSchedule(f"{len(payload)} bytes are over the limit of {MAX_SCHEDULE_BYTES}; divide the programmes")
    return payload


def read_schedule(payload: bytes, *keys: Ed25519PublicKey) -> Schedule:
    """Return a schedule that one of `keys` signed; without keys, one whose signature was verified before.

    Raises:
        InvalidSchedule: too long, not signed with any of `keys`, or it does not fit the model.
    """
    try:
        found = signed.read(payload, _DOMAIN, MAX_SCHEDULE_BYTES)
        if keys and not signed.is_signed(found, keys):
            raise InvalidSchedule("not signed with the collector's command key")
        return Schedule.model_validate(found.message)
    except signed.NotSigned as error:
        raise InvalidSchedule(str(error)) from None
    except ValidationError as error:
        raise InvalidSchedule(first_problem(error)) from None


def content_digest(payload: bytes) -> str:
    """Return 16 hexadecimal digits for what was signed; the same for whichever key signed it. `payload` has been read before."""
    return hashlib.sha256(signed.canonical(json.loads(payload), _DOMAIN)).hexdigest()[:16]


def digest_of(documents: Iterable[Held]) -> str:
    """Return 32 hexadecimal digits for a set of documents."""
    lines = sorted(f"{held.target} {held.number} {held.content}\n" for held in documents)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
