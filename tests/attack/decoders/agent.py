"""Readers of the agent: its configuration, its identity, and the databases that a failing SD card gives back."""

from __future__ import annotations

import atexit
import base64
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.attack.decoders.drivers import folder
from tests.attack.decoders.kit import Decoder
from tests.attack.decoders.wire import AUTHORITY, KEY, golden
from village_agent import memory
from village_agent.clock.clock import Estimate
from village_agent.clock.undated_file import Undated, UndatedFile
from village_agent.commands.table import CommandTable
from village_agent.config import load
from village_agent.identity.folder import AUTHORITY as CA_FILE
from village_agent.identity.folder import CERTIFICATE, RECORD, InvalidIdentity, Record, read_identity, write_identity
from village_agent.identity.folder import KEY as KEY_FILE
from village_agent.loudspeaker.heard_levels import read_levels
from village_agent.loudspeaker.hearing import listen
from village_agent.outbox.file import OutboxFile
from village_agent.outbox.items import Item, Lane
from village_agent.outbox.ledger import ItemClass
from village_agent.roster import Roster
from village_wire import signed
from village_wire.command_keys import CommandKey, CommandKeys, sign_command_keys
from village_wire.commands import read_command
from village_wire.events import CommandResult, Event, decode_events
from village_wire.settings import InvalidSettings
from village_wire.signed import encode_public_key

SAMPLES = Path(__file__).parents[3] / "deploy/samples"
_OUTBOX_BYTES = 2_000_000
_BOOT = "0" * 32


def _config(data: bytes) -> object:
    with folder() as place:
        file = place / "agent.toml"
        file.write_bytes(data)
        settings = load(file)
        return settings.agent, [device for device, _, _ in Roster.build(settings).devices()]


def _identity(data: bytes) -> object:
    """The record of an identity beside files that are in order."""
    with folder() as place:
        shutil.copytree(_identity_made(), place / "state", symlinks=True)
        (place / "state/identity").resolve().joinpath(RECORD).write_bytes(data)
        found = read_identity(place / "state")
        return found and (found.agent, found.expires, found.address.url)


@cache
def _identity_made() -> Path:
    place = Path(tempfile.mkdtemp(prefix="village-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    write_identity(place, *_IDENTITY)
    return place


def _statm(data: bytes) -> object:
    with folder() as place:
        (place / "statm").write_bytes(data)
        before, memory._STATM = memory._STATM, place / "statm"
        try:
            return memory.resident_bytes()
        finally:
            memory._STATM = before


def _database(use: Callable[[Path], object], data: bytes) -> object:
    with folder() as place:
        path = place / "x.db"
        path.write_bytes(data)
        return use(path)


def _use_outbox(path: Path) -> object:
    file = OutboxFile(path, _OUTBOX_BYTES)
    try:
        waiting = dict(file.waiting_by_class)
        file.write([Item(ItemClass.EVENT, 1, b"{}", 1, 1, "k"), Item(ItemClass.TELEMETRY, 1, b"x", 1, 1)])
        sizes = []
        for lane in Lane:
            # A damaged file must not give the same batch for ever.
            for number in range(20):
                batch = file.next_batch(lane, 100, 100, 60_000, f"{number:032x}")
                if batch is None:
                    break
                sizes.append(len(batch.contents))
        file.write([], [f"{0:032x}"])
        return waiting, sizes, file.damaged
    finally:
        file.close()


def _use_undated(path: Path) -> object:
    file = UndatedFile(path, _BOOT, _OUTBOX_BYTES)
    try:
        remembered = file.remembered()
        file.add([Undated(ItemClass.EVENT, 1, b"{}")])
        found = file.read(100)
        if found:
            file.remove_until(found[-1][0])
        losses = file.losses()
        file.forget_losses()
        file.remember(1, Estimate(1, 1, 1, "collector"))
        return remembered, len(found), losses, file.damaged
    finally:
        file.close()


def _use_commands(path: Path) -> object:
    table = CommandTable(path)
    try:
        table.begin(_NOW)
        known = table.known_results(_COMMAND.id)
        unsent, unfinished, clock = table.unsent(), table.unfinished(), table.clock()
        table.mark_sent(unsent)
        return known, unsent, unfinished, clock
    finally:
        table.close()


_NOW = datetime(2026, 11, 24, 1, 2, 4, tzinfo=UTC)
_COMMAND = read_command(golden("command-unlock.json")[0], KEY.public_key())


def _made(make: Callable[[Path], None]) -> bytes:
    with folder() as place:
        path = place / "x.db"
        make(path)
        for database in (path, *place.glob("x.db-wal")):
            assert database.exists()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        copy = place / "copy"
        shutil.copy(path, copy)
        return copy.read_bytes()


def _make_outbox(path: Path) -> None:
    file = OutboxFile(path, _OUTBOX_BYTES)
    lines = golden("telemetry.lines")[0]
    events = [
        Item(ItemClass.EVENT, 1, golden("event-alarm.json")[0], number, number, f"key-{number}") for number in range(3)
    ]
    file.write([*events, Item(ItemClass.RECEIPT, 1, b"{}", 5, 5, "r"), Item(ItemClass.TELEMETRY, 3, lines, 1, 9)])
    file.close()


def _make_undated(path: Path) -> None:
    file = UndatedFile(path, _BOOT, _OUTBOX_BYTES)
    file.add([Undated(ItemClass.EVENT, 1, golden("event-alarm.json")[0]), Undated(ItemClass.TELEMETRY, 3, b"lines")])
    file.remember(5, Estimate(7, 8, 9, "collector"))
    file.close()


def _make_commands(path: Path) -> None:
    table = CommandTable(path)
    first = decode_events(golden("event-command_result.json")[0])[0]
    result = CommandResult(command=_COMMAND.id, outcome="accepted")
    table.add(_COMMAND, [Event(id=uuid4(), time=first.time, device="gate", data=result)], _NOW)
    table.close()


_SAMPLE = (SAMPLES / "agent.toml").read_text()
_SMALL = f"""[agent]
id = "box"
area = "330110101205"
[collector]
broker = "mqtt://127.0.0.1:1883"
command_key = "{encode_public_key(KEY.public_key())}"
[[devices]]
id = "bus"
driver = "osdp"
port = "/dev/ttyUSB0"
[[devices.readers]]
id = "gate"
address = 1
scbk = "000102030405060708090a0b0c0d0e0f"
[[doors]]
reader = "gate"
lock = "gate"
cards = ["26:00ABCDEF"]
"""

_POINT = AUTHORITY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
_KEYS = CommandKeys(number=1, keys=(CommandKey(key=encode_public_key(KEY.public_key())),))
_IDENTITY = (
    Record(
        agent="lin-1",
        area="330110101205",
        broker="mqtts://broker.example:8883",
        api="https://collector.example:8480",
        issued=_NOW,
        expires=_NOW + timedelta(days=365),
        authority_key=base64.b64encode(_POINT).decode(),
    ),
    {KEY_FILE: b"key", CERTIFICATE: b"certificate", CA_FILE: b"authority"},
    signed.encode(sign_command_keys(_KEYS, AUTHORITY)),
)
_RECORD = _identity_made().joinpath("identity", RECORD).read_bytes()

#: Damage is a refusal of SQLite's; anything else would end the agent at each start.
_REFUSALS = (sqlite3.Error,)

DECODERS = (
    Decoder("agent_config", _config, (InvalidSettings,), (_SMALL.encode(),), "text", seconds=5.0, memory=64 << 20),
    Decoder("identity", _identity, (InvalidIdentity,), (_RECORD,), "json", slow=True),
    Decoder("heard_levels", read_levels, (ValueError,), (b'{"horn ear alert None": -38.2}',), "json"),
    Decoder(
        "chime_recording",
        lambda data: listen(data, "alert", -20.0),
        (),
        (bytes(range(256)) * 60,),
        max_bytes=32 * 1024,
        slow=True,
    ),
    Decoder("statm", _statm, (), (b"12345 6789 100 1 0 2 0\n",), "text"),
    *(
        Decoder(name, partial(_database, use), _REFUSALS, (_made(make),), max_bytes=256 * 1024, slow=True)
        for name, use, make in (
            ("outbox_file", _use_outbox, _make_outbox),
            ("undated_file", _use_undated, _make_undated),
            ("command_table", _use_commands, _make_commands),
        )
    ),
)
