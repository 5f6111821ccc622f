"""What an agent says of itself (status, inventory) and what a collector answers (ack)."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from village_wire.areas import Area
from village_wire.clocks import Instant
from village_wire.events import first_problem
from village_wire.ids import AgentId, DeviceId, HexId
from village_wire.points import MAX_MESSAGE_BYTES
from village_wire.tags import MAX_TAGS, Tag, ordered, without_empty_tags

#: More than any box can drive; keeps one inventory under a message's limit.
MAX_DEVICES = 500


class InvalidMessage(ValueError):
    """The message does not fit its model; the text is the reason."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AgentStatus(_Model):
    """Retained. The last will is the same message with `online` false; a will of an older session or connection is ignored.

    `connection` counts the connections of a session from 1. A will carries the number of the connection that it was left with, so
    that it can be told from the next one's greeting in whatever order the two arrive. `since` is None while the agent does not know
    the time.
    """

    online: bool
    session: HexId
    version: Annotated[str, Field(max_length=40)]
    since: Instant | None = None
    connection: Annotated[int, Field(ge=1, lt=2**31)] | None = None


class DeviceEntry(_Model):
    """One device of an inventory. `tags` are its own and its agent's."""

    id: DeviceId
    driver: Annotated[str, Field(max_length=40)]
    kind: Annotated[str, Field(max_length=40)]
    abilities: tuple[Annotated[str, Field(max_length=40)], ...] = ()
    name: Annotated[str, Field(max_length=80)] = ""
    firmware: Annotated[str, Field(max_length=80)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=2 * MAX_TAGS), AfterValidator(ordered)] = ()

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty_tags(write(self))


class Inventory(_Model):
    """Retained: where the agent is and what it drives."""

    agent: AgentId
    area: Area
    config_version: Annotated[str, Field(max_length=64)]
    devices: Annotated[tuple[DeviceEntry, ...], Field(max_length=MAX_DEVICES)]


class RefusedBatch(_Model):
    """A batch that will never be stored; the agent drops it."""

    batch: HexId
    reason: Annotated[str, Field(max_length=500)]


class Ack(_Model):
    """Batches that are on the collector's disk, or will never be."""

    stored: tuple[HexId, ...] = ()
    refused: tuple[RefusedBatch, ...] = ()


_M = TypeVar("_M", AgentStatus, Inventory, Ack)


def encode_message(message: AgentStatus | Inventory | Ack) -> bytes:
    """Return the payload of a status, inventory or ack message."""
    return message.model_dump_json(exclude_none=True).encode()


def decode_message(model: type[_M], payload: bytes) -> _M:
    """Read a status, inventory or ack; raise `InvalidMessage` for anything else."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(f"message of {len(payload)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise InvalidMessage(first_problem(error)) from None
