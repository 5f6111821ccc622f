"""The command line, in the hands of a hostile collector: whatever it answers, people get a table or a sentence, never a traceback."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

from tests.attack.decoders.kit import Decoder, join, records
from tests.cli import canned
from village_cli.client import Client
from village_cli.failures import UNREACHABLE
from village_cli.main import app

_COMMANDS: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "agents": (("agents",), canned.AGENTS),
    "devices": (("devices",), canned.DEVICES),
    "device": (("device", "show", "gate-1/reader"), canned.ONE_DEVICE),
    "agent": (("--lang", "zh", "device", "show", "gate-1"), canned.ONE_AGENT),
    "health": (("health",), canned.MIXED),
    "nagios": (("health", "--nagios"), canned.MIXED),
    "events": (("events",), canned.events(canned.PRESSED, canned.STARTED, canned.TAMPER, canned.DENIED)),
    "events_json": (("events", "--json"), canned.events(canned.PRESSED)),
    "history": (("history", "gate-1/reader", "temperature_c"), canned.TEMPERATURES),
    "csv": (("history", "gate-1/reader", "temperature_c", "--csv"), canned.TEMPERATURES),
    "letters": (("dead-letters",), canned.LETTERS),
    "commands": (("command", "list"), canned.COMMANDS),
    "broadcast": (("broadcast", "show", canned.COMMAND), canned.command("done", [canned.result("gate-1", "done")])),
    "whoami": (("whoami",), canned.ME),
    "persons": (("person", "list"), canned.PERSONS),
    "person": (("person", "show", "li"), canned.ONE_PERSON),
    "tokens": (("token", "list"), canned.TOKENS),
}
_ENVIRONMENT = {
    "VILLAGE_URL": "http://127.0.0.1:9",
    "VILLAGE_TOKEN": "vs1.p2mE0zKq4Wc7XyT1nRb8dQ",
    "XDG_CONFIG_HOME": "/nonexistent",
    "TZ": "Asia/Shanghai",
    "COLUMNS": "100",
    "LC_ALL": "C.UTF-8",
}
#: How long something has lasted is another text a minute later.
_LASTED = re.compile(r"\d+ (?:d|h|min|s|天|小时|分|秒)\b(?: \d+ (?:h|min|s|小时|分|秒)\b)?")
#: What a command may end with: well, unwell (health), wrong use, no collector.
_EXIT_CODES = {0, 1, 2, UNREACHABLE}


def _village(data: bytes) -> object:
    """One record: which command, and the collector's answer to whatever it asks."""
    name, body = records(data, 2)[0]
    words = _COMMANDS.get(name.decode(errors="replace"), _COMMANDS["agents"])[0]

    def answer(*_: object, **__: object) -> tuple[bytes, str]:
        return body, "application/json"

    with patch.object(Client, "_exchange", answer), patch.dict(os.environ, _ENVIRONMENT):
        done = CliRunner().invoke(app, list(words), env=_ENVIRONMENT)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code not in _EXIT_CODES:
        raise AssertionError(f"exit code {done.exit_code}")
    acting = {sign for sign in done.output if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"}} - {"\n"}
    if acting:
        raise AssertionError(f"{acting} reach the terminal")
    return done.exit_code, _LASTED.sub("…", done.output)


DECODERS = (
    Decoder(
        "village",
        _village,
        (),
        tuple(join((name.encode(), json.dumps(document).encode())) for name, (_, document) in _COMMANDS.items()),
        "records",
        seconds=3.0,
        memory=64 << 20,
        slow=True,
    ),
)
