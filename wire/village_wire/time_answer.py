"""The time, asked with a nonce and answered with a signature: a box without a clock need trust neither its broker nor a replay."""

from __future__ import annotations

from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from village_wire import signed
from village_wire.clocks import Instant
from village_wire.events import first_problem
from village_wire.ids import AgentId, HexId

#: Longer than any request or answer; what exceeds it is not parsed.
MAX_TIME_BYTES = 1024
#: Message expiry of request and answer in seconds: an answer to a slower exchange says too little.
EXPIRY_SECONDS = 10
#: Keeps these signatures apart from any other use of the same key.
_DOMAIN = b"village-edge time 1\n"


class InvalidTime(ValueError):
    """The message is no time request or answer, or not signed with the pinned key; the text is the reason."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TimeRequest(_Model):
    """An agent asks for the time. The nonce is new for each request.

    `session` and `unsure_seconds` are there while the agent does not know the time, and say for how long it has been connected so.
    `keys` is the number of the newest document of command keys that it knows: a newer one is sent before the answer.
    `schedules` is the digest of the schedules that it has (`village_wire.schedules.digest_of`): those that it lacks are sent.
    """

    nonce: HexId
    keys: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    schedules: HexId | None = None
    session: HexId | None = None
    unsure_seconds: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class TimeAnswer(_Model):
    """The collector's time at the moment of the signature."""

    agent: AgentId
    nonce: HexId
    time: Instant


def encode_time_request(request: TimeRequest) -> bytes:
    """Return the payload of a request."""
    return request.model_dump_json(exclude_none=True).encode()


def read_time_request(payload: bytes) -> TimeRequest:
    """Read a request; raise `InvalidTime` for anything else."""
    if len(payload) > MAX_TIME_BYTES:
        raise InvalidTime(f"message of {len(payload)} bytes is over the limit of {MAX_TIME_BYTES}")
    try:
        return TimeRequest.model_validate_json(payload)
    except ValidationError as error:
        raise InvalidTime(first_problem(error)) from None


def sign_time_answer(answer: TimeAnswer, key: Ed25519PrivateKey) -> bytes:
    """Return the payload of an answer."""
    return signed.encode(signed.sign(answer.model_dump_json(), _DOMAIN, key.sign))


def read_time_answer(payload: bytes, agent: str, *keys: Ed25519PublicKey) -> TimeAnswer:
    """Return a verified answer. Whether its nonce is ours, and whether it came in time, is the caller's to judge.

    Raises:
        InvalidTime: not an answer, not signed with any of `keys`, or meant for another agent.
    """
    try:
        found = signed.read(payload, _DOMAIN, MAX_TIME_BYTES)
        if not signed.is_signed(found, keys):
            raise InvalidTime("not signed with the collector's command key")
        answer = TimeAnswer.model_validate(found.message)
    except signed.NotSigned as error:
        raise InvalidTime(str(error)) from None
    except ValidationError as error:
        raise InvalidTime(first_problem(error)) from None
    if answer.agent != agent:
        raise InvalidTime(f"meant for agent {answer.agent}")
    return answer
