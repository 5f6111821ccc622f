"""Events: what happened on a site. One model per kind; a batch is a JSON object `{"events": [...]}`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from village_wire.broadcasts import Category, Stage
from village_wire.clocks import Instant
from village_wire.ids import DeviceId, HexId
from village_wire.plain import plain_reason
from village_wire.points import MAX_MESSAGE_BYTES, InvalidBatch
from village_wire.states import Status

CONTENT_JSON = "application/json"
#: More events than this wait for the next batch, so that one ack never covers more than a few seconds of work.
MAX_EVENTS = 500

Text = Annotated[str, Field(max_length=1000)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class StateChanged(_Data):
    """A device's status; sent at every change and, for all devices, after each start of the agent."""

    kind: Literal["state_changed"] = "state_changed"
    status: Status
    code: Code
    evidence: Text
    since: Instant
    session: HexId


class DoorAccess(_Data):
    """Somebody presented a credential at a reader. `door` is the lock that was to be released; `door_unlocked` says that it was."""

    kind: Literal["door_access"] = "door_access"
    credential: Annotated[str, Field(max_length=80)]
    outcome: Literal["granted", "denied"]
    reason: Code
    door: DeviceId | None = None


class DoorUnlocked(_Data):
    """A lock was released, by a credential or by a command."""

    kind: Literal["door_unlocked"] = "door_unlocked"
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    by: Literal["credential", "command", "button"]
    command: UUID | None = None


class Alarm(_Data):
    """A condition that somebody must look at began or ended: tamper, power fault, forced door."""

    kind: Literal["alarm"] = "alarm"
    code: Code
    active: bool
    evidence: Text = ""


class ButtonPressed(_Data):
    """A button or remote control was used; `action` is the device's own word for it."""

    kind: Literal["button_pressed"] = "button_pressed"
    action: Annotated[str, Field(max_length=80)]


class Receipt(_Data):
    """Where a broadcast is on one loudspeaker. The time of `started` is that of the first sample.

    `play` counts the times from 1. `position` is how many seconds of this play were heard, for what was interrupted. `overrode` tells
    that it began although quiet hours were on. `category` is the broadcast's. `heard`, with the last receipt of a broadcast that has a
    category, is how many seconds of sound there were in all plays together.
    """

    kind: Literal["receipt"] = "receipt"
    broadcast: UUID
    stage: Stage
    reason: Text = ""
    evidence: Text = ""
    play: Annotated[int, Field(ge=1, le=100)] | None = None
    position: Annotated[float, Field(ge=0, le=86_400)] | None = None
    overrode: bool | None = None
    category: Category | None = None
    heard: Annotated[float, Field(ge=0, le=604_800)] | None = None


class CommandResult(_Data):
    """What became of a command. `accepted` may be followed by one of the three others, which are final."""

    kind: Literal["command_result"] = "command_result"
    command: UUID
    outcome: Literal["accepted", "refused", "done", "failed"]
    reason: Text = ""
    result: dict[str, Any] = Field(default_factory=dict)


class AgentStarted(_Data):
    """The agent's program started; the first event of each session."""

    kind: Literal["agent_started"] = "agent_started"
    session: HexId
    version: Annotated[str, Field(max_length=40)]


class Loss(_Data):
    """One entry of the agent's loss ledger, sent when it has grown. `count` is the total so far; `first` and `last` span the losses.

    A ledger that was begun anew has a later `first`.
    """

    kind: Literal["loss"] = "loss"
    item_class: Literal["event", "receipt", "telemetry"]
    reason: Annotated[str, Field(max_length=200)]
    count: Annotated[int, Field(ge=1, lt=2**63)]
    first: Instant
    last: Instant


EventData = Annotated[
    StateChanged | DoorAccess | DoorUnlocked | Alarm | ButtonPressed | Receipt | CommandResult | AgentStarted | Loss,
    Field(discriminator="kind"),
]
#: Every kind of event.
EVENT_KINDS: tuple[str, ...] = tuple(data.model_fields["kind"].default for data in get_args(get_args(EventData)[0]))


class Event(_Data):
    """One event. `device` is None when the agent itself is meant."""

    id: UUID
    time: Instant
    device: DeviceId | None = None
    data: EventData


class EventBatch(_Data):
    """The payload of an event message."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]


_BATCH = TypeAdapter(EventBatch)


def encode_events(events: list[Event]) -> bytes:
    """Return the payload of an event message."""
    return EventBatch(events=events).model_dump_json(exclude_none=True).encode()


def decode_events(payload: bytes) -> list[Event]:
    """Return the events of a message.

    Raises:
        InvalidBatch: too long, not JSON, or an event that does not fit its model.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise InvalidBatch(f"message of {len(payload)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return _BATCH.validate_json(payload).events
    except ValidationError as error:
        raise InvalidBatch(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """Return `place: what is wrong` of the first problem, without the input's value."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])[:200]
    return f"{place or 'message'}: {plain_reason(problem)[:200]}"
