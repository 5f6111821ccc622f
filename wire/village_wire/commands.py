"""Commands: at most once, never after their expiry, only with the collector's signature.

A command is a signed object (`village_wire.signed`), so an agent of an older version can verify fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from village_wire import signed
from village_wire.areas import Area
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES, Audio, Category, Class, Track, Voice
from village_wire.clocks import Instant
from village_wire.events import first_problem
from village_wire.ids import AgentId, DeviceId
from village_wire.tags import Tags, tagged, without_empty_tags

#: A spoken text of 2,000 characters takes some eight minutes; longer ones are sent as a file.
MAX_SPOKEN = 2000
#: Larger than any command by far; what exceeds it is not parsed.
MAX_COMMAND_BYTES = 32 * 1024
#: Keeps these signatures apart from any other use of the same key.
_DOMAIN = b"village-edge command 1\n"


class InvalidCommand(ValueError):
    """The message is not a command; the text is the reason."""


class BadSignature(InvalidCommand):
    """The command is not signed with the pinned key."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Stop(_Model):
    """Silence the target's loudspeakers."""

    kind: Literal["stop"] = "stop"


class Broadcast(_Model):
    """Let the target's loudspeakers be heard; the command's id is the broadcast's.

    The sound is a text, a file, a track of the loudspeaker's own card, or live voice, which comes on the `LiveTopic` of its areas. It may
    begin at `start` (None: at once) and counts until `end`, which is the command's expiry. It is heard `times` times with `pause` seconds
    between two. `volume` is in percent; None leaves it to the loudspeaker's own for the class. `category` is repeated in the receipts.
    """

    kind: Literal["broadcast"] = "broadcast"
    rank: Class
    title: Annotated[str, Field(max_length=80)] = ""
    text: Annotated[str, Field(min_length=1, max_length=MAX_SPOKEN)] | None = None
    audio: Audio | None = None
    track: Track | None = None
    live: Voice | None = None
    start: Instant | None = None
    end: Instant
    times: Annotated[int, Field(ge=1, le=100)] = 1
    pause: Annotated[float, Field(ge=0, le=3600)] = 0.0
    volume: Annotated[float, Field(ge=0, le=100)] | None = None
    chime: bool = True
    category: Category | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if [self.text, self.audio, self.track, self.live].count(None) != 3:
            raise ValueError("a broadcast is either a text, a sound file, a track of the card or live voice")
        if self.live is not None and (self.times > 1 or self.start is not None):
            raise ValueError("live voice is heard once, and at once")
        if self.start is not None and self.start >= self.end:
            raise ValueError("a broadcast ends after it begins")
        return self


class Withdraw(_Model):
    """Take a broadcast away from the target's loudspeakers, whether it waits or sounds."""

    kind: Literal["withdraw"] = "withdraw"
    broadcast: UUID
    reason: Annotated[str, Field(max_length=200)] = ""


class Unlock(_Model):
    """Release a lock for some seconds."""

    kind: Literal["unlock"] = "unlock"
    seconds: Annotated[float, Field(gt=0, le=60)] = 5.0


class SwitchTo(_Model):
    """Set a switch, relay or siren."""

    kind: Literal["switch"] = "switch"
    on: bool


class Snapshot(_Model):
    """Take a JPEG picture and upload it with a one-time token: POST, `Authorization: Bearer <token>`, `image/jpeg`."""

    kind: Literal["snapshot"] = "snapshot"
    upload_url: Annotated[str, Field(max_length=500, pattern=r"^https?://")]
    upload_token: Annotated[str, Field(max_length=100, repr=False)]


class Indicate(_Model):
    """Show a colour on a reader's LED, and sound its buzzer, for some seconds: finds the device on site."""

    kind: Literal["indicate"] = "indicate"
    colour: Literal["red", "green", "amber", "blue"] = "green"
    buzzer: bool = True
    seconds: Annotated[float, Field(gt=0, le=60)] = 3.0


Arguments = Annotated[
    Broadcast | Withdraw | Stop | Unlock | SwitchTo | Snapshot | Indicate, Field(discriminator="kind")
]


#: Kind of command -> abilities of which a device needs one for it, as they stand in the inventory.
ABILITIES: Mapping[str, tuple[str, ...]] = {
    "broadcast": LOUDSPEAKER_ABILITIES,
    "withdraw": LOUDSPEAKER_ABILITIES,
    "stop": LOUDSPEAKER_ABILITIES,
    "unlock": ("door",),
    "switch": ("switch",),
    "snapshot": ("camera",),
    "indicate": ("indicator",),
}


class Target(_Model):
    """One agent, one device of an agent, or everything in an area.

    `tags` narrow an area or an agent to the devices that carry one of them. `without` leaves out those that carry one of these, since
    another command of the same broadcast reaches them.
    """

    agent: AgentId | None = None
    device: DeviceId | None = None
    area: Area | None = None
    tags: Tags = ()
    without: Tags = ()

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.agent is None) == (self.area is None):
            raise ValueError("a target is either an agent or an area")
        if self.device is not None and self.agent is None:
            raise ValueError("a device needs its agent")
        if self.device is not None and self.tags:
            raise ValueError("tags narrow an area or an agent, not a device")
        return self

    def __str__(self) -> str:
        """As people type it: `441900003001`, `gate-1`, `gate-1/speaker`, `441900003001/tag:school`."""
        place = self.area or (f"{self.agent}/{self.device}" if self.device else str(self.agent))
        return tagged(place, self.tags)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty_tags(write(self))


class Command(_Model):
    """One command as the agent acts on it."""

    id: UUID
    target: Target
    arguments: Arguments
    issuer: Annotated[str, Field(min_length=1, max_length=80)]
    issued: Instant
    expires: Instant

    @model_validator(mode="after")
    def _expires_later(self) -> Self:
        if self.expires <= self.issued:
            raise ValueError("a command expires after it is issued")
        return self


_COMMAND = TypeAdapter(Command)


def sign_command(command: Command, key: Ed25519PrivateKey) -> bytes:
    """Return the payload of a command message."""
    return signed.encode(signed.sign(command.model_dump_json(exclude_none=True), _DOMAIN, key.sign))


def read_command(payload: bytes, *keys: Ed25519PublicKey) -> Command:
    """Return a command that one of `keys` signed. Target and expiry are the caller's to judge.

    Raises:
        InvalidCommand: too long, not JSON, or it does not fit the model.
        BadSignature: not signed with any of `keys`.
    """
    try:
        found = signed.read(payload, _DOMAIN, MAX_COMMAND_BYTES)
    except signed.NotSigned as error:
        raise InvalidCommand(str(error)) from None
    if not signed.is_signed(found, keys):
        raise BadSignature("not signed with the collector's command key")
    try:
        return _COMMAND.validate_python(found.message)
    except ValidationError as error:
        raise InvalidCommand(first_problem(error)) from None
