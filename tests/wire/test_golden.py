"""The bytes of every message, frozen: a change here breaks agents that are already in villages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_wire.broadcasts import Audio, Track
from village_wire.commands import (
    Arguments,
    Broadcast,
    Command,
    Indicate,
    Snapshot,
    Stop,
    SwitchTo,
    Target,
    Unlock,
    Withdraw,
    read_command,
    sign_command,
)
from village_wire.events import (
    AgentStarted,
    Alarm,
    ButtonPressed,
    CommandResult,
    DoorAccess,
    DoorUnlocked,
    Event,
    EventData,
    Loss,
    Receipt,
    StateChanged,
    decode_events,
    encode_events,
)
from village_wire.points import encode_point
from village_wire.presence import (
    Ack,
    AgentStatus,
    DeviceEntry,
    Inventory,
    RefusedBatch,
    decode_message,
    encode_message,
)
from village_wire.time_answer import (
    TimeAnswer,
    TimeRequest,
    encode_time_request,
    read_time_answer,
    read_time_request,
    sign_time_answer,
)

GOLDEN = Path(__file__).parent / "golden"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TIME = datetime(2026, 11, 24, 1, 2, 3, 456789, tzinfo=UTC)
ID = UUID("01a20d03-e33d-7aba-a831-e986e5e7f26d")
SESSION = "0123456789abcdef0123456789abcdef"

EVENTS: dict[str, EventData] = {
    "state_changed": StateChanged(
        status="down", code="no_answer", evidence="no answer for 12 s", since=TIME, session=SESSION
    ),
    "door_access": DoorAccess(credential="26:00123456", outcome="granted", reason="listed", door="gate"),
    "door_unlocked": DoorUnlocked(seconds=5, by="command", command=ID),
    "alarm": Alarm(code="tamper", active=True, evidence="housing open"),
    "button_pressed": ButtonPressed(action="single"),
    "receipt": Receipt(broadcast=ID, stage="finished", evidence="busy 4.2 s, then idle"),
    "command_result": CommandResult(command=ID, outcome="done", result={"bytes": 1234}),
    "loss": Loss(item_class="telemetry", reason="outbox full", count=1204, first=TIME, last=TIME),
    "agent_started": AgentStarted(session=SESSION, version="0.1.0"),
}

ARGUMENTS: dict[str, tuple[Target, Arguments]] = {
    "broadcast": (
        Target(area="330110101205-g03"),
        Broadcast(
            rank="alert",
            title="汛情",
            text="请注意，河水上涨。Please move uphill.",
            start=TIME + timedelta(seconds=10),
            end=TIME + timedelta(seconds=60),
            times=3,
            pause=5,
            volume=80,
            category="weather",
        ),
    ),
    "broadcast-audio": (
        Target(agent="lin-1", device="square"),
        Broadcast(
            rank="routine",
            audio=Audio(sha256="5e" * 32, bytes=37_500, seconds=12.5, token="one-file"),
            end=TIME + timedelta(seconds=60),
            chime=False,
        ),
    ),
    "broadcast-track": (
        Target(agent="lin-1", device="horn"),
        Broadcast(rank="routine", track=Track(folder=2, number=15), end=TIME + timedelta(seconds=60), category="fire"),
    ),
    "broadcast-tags": (
        Target(area="330110101000", tags=("school", "clinic"), without=("mute",)),
        Broadcast(rank="notice", text="今天下午停课。", end=TIME + timedelta(seconds=60)),
    ),
    "withdraw": (Target(area="330110101205-g03"), Withdraw(broadcast=ID, reason="说错了地方")),
    "stop": (Target(agent="lin-1"), Stop()),
    "unlock": (Target(agent="lin-1", device="gate"), Unlock(seconds=5)),
    "switch": (Target(agent="lin-1", device="amplifier"), SwitchTo(on=True)),
    "snapshot": (
        Target(agent="lin-1", device="square"),
        Snapshot(upload_url="http://127.0.0.1:8480/api/v1/uploads/x", upload_token="one-time"),
    ),
    "indicate": (Target(agent="lin-1", device="gate"), Indicate(colour="amber")),
}

MESSAGES: dict[str, AgentStatus | Inventory | Ack] = {
    "status": AgentStatus(online=True, session=SESSION, version="0.1.0", since=TIME, connection=7),
    "inventory": Inventory(
        agent="lin-1",
        area="330110101205",
        config_version="abc123",
        devices=(DeviceEntry(id="gate", driver="osdp", kind="door_reader", abilities=("door",), name="祠堂大门"),),
    ),
    "inventory-tags": Inventory(
        agent="lin-1",
        area="330110101205",
        config_version="abc123",
        devices=(DeviceEntry(id="square", driver="sound", kind="loudspeaker", tags=("school", "clinic")),),
    ),
    "ack": Ack(stored=(SESSION,), refused=(RefusedBatch(batch="f" * 32, reason="not a line of agent lin-1"),)),
}


def check(name: str, produced: bytes) -> None:
    assert produced == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_event(kind: str) -> None:
    event = Event(id=ID, time=TIME, device="gate", data=EVENTS[kind])
    payload = encode_events([event])
    check(f"event-{kind}.json", payload)
    assert decode_events(payload) == [event]


@pytest.mark.parametrize("kind", sorted(ARGUMENTS))
def test_command(kind: str) -> None:
    target, arguments = ARGUMENTS[kind]
    command = Command(
        id=ID,
        target=target,
        arguments=arguments,
        issuer="陈站长",
        issued=TIME,
        expires=TIME + timedelta(seconds=60),
    )
    payload = sign_command(command, KEY)
    check(f"command-{kind}.json", payload)
    assert read_command(payload, KEY.public_key()) == command


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_message(name: str) -> None:
    message = MESSAGES[name]
    payload = encode_message(message)
    check(f"{name}.json", payload)
    match message:
        case AgentStatus():
            assert decode_message(AgentStatus, payload) == message
        case Inventory():
            assert decode_message(Inventory, payload) == message
        case Ack():
            assert decode_message(Ack, payload) == message


def test_lines() -> None:
    lines = b"\n".join(
        (
            encode_point("host", "lin-1", "box", {"cpu_percent": 12.5, "uptime_s": 3}, 1_795_482_123_456_789_000),
            encode_point("reader", "lin-1", "gate", {"online": True, "tamper": False}, 1_795_482_123_456_789_001),
            encode_point("agent", "lin-1", "lin-1", {"lost": 0, "outbox_bytes": 4096}, 1_795_482_123_456_789_002),
        )
    )
    check("telemetry.lines", lines)


def test_time() -> None:
    request = TimeRequest(nonce=SESSION, session=SESSION, unsure_seconds=75)
    check("time.json", encode_time_request(request))
    assert read_time_request(encode_time_request(request)) == request
    answer = TimeAnswer(agent="lin-1", nonce=SESSION, time=TIME)
    check("clock.json", sign_time_answer(answer, KEY))
    assert read_time_answer(sign_time_answer(answer, KEY), "lin-1", KEY.public_key()) == answer


def test_every_kind_is_frozen() -> None:
    names = {path.name for path in GOLDEN.iterdir()}
    expected = {f"event-{kind}.json" for kind in EVENTS} | {f"command-{kind}.json" for kind in ARGUMENTS}
    expected |= {f"{name}.json" for name in MESSAGES} | {"time.json", "clock.json", "telemetry.lines"}
    assert names == expected
