"""Every English sentence that the sources may send to a person, as an example, found by its form.

A sentence is a string (or f-string) with a blank and a word of letters. What stands where no reason or evidence arises is passed over: log lines,
descriptions of settings and requests, names of tasks, SQL, docstrings (`QUIET`), and the files in `SILENT`, whose texts go to logs and to consoles of
the server and the box only. Not covered: reasons of one word (`offline`), and what operating system and libraries say (`village_wire/reasons/system.py`
holds the usual ones).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
#: Where reasons and evidence arise.
PLACES = (
    "agent/village_agent",
    "drivers/village_drivers",
    "collector/village_collector",
    "wire/village_wire",
)
#: Files and folders whose sentences no client of the collector's API and no `village-agent check` shows.
SILENT: tuple[str, ...] = (
    *(
        f"agent/village_agent/{name}"
        for name in (
            *("cli.py", "config.py", "tables.py", "roster.py", "listing.py", "serve.py", "state_lock.py"),
            *("loudspeaker/settings.py", "identity/console.py", "identity/enrolment.py", "outbox/pages.py"),
        )
    ),
    *(
        f"collector/village_collector/{name}"
        for name in (
            *("api_certificate.py", "app.py", "broker_certificate.py", "check.py", "check_files.py", "cli.py"),
            *("command_key_cli.py", "config.py", "data_dir.py", "influx_cli.py", "mosquitto/", "mosquitto_cli.py"),
            *("own_certificate.py", "people/administrator.py", "run.py", "sections.py", "server.py"),
            *(
                "stores/influx/flux.py",
                "stores/influx/inspection.py",
                "stores/influx/plan.py",
                "stores/influx/setup.py",
            ),
            *("trust/authority.py", "trust/command_keys.py", "trust/key_files.py", "trust/signing_requests.py"),
        )
    ),
    *(
        f"drivers/village_drivers/{name}"
        for name in (
            "modbus/config.py",
            "mqtt/config.py",
            "mqtt/loudspeaker_tables.py",
            "osdp/config.py",
            "registry.py",
        )
    ),
    *("wire/village_wire/settings.py", "wire/village_wire/reasons/"),
)
#: Calls whose arguments are no reasons; the last part of a dotted name.
QUIET_CALLS = frozenset(
    {
        *("debug", "info", "warning", "error", "exception", "critical"),
        *("Field", "Query", "Path", "Body", "Header", "Option", "Argument", "compile", "create_task", "Thread"),
        *("execute", "executemany", "exec_driver_sql", "_warn_once", "TypeError", "AssertionError", "RuntimeError"),
        *("Typer", "command", "APIRouter", "FastAPI", "DriverType", "startswith", "endswith", "partition", "replace"),
    }
)
#: Failures of the command line that take a reason in English.
ONE_LANGUAGE = frozenset({"Unreachable", "NotACollector"})
_LETTERS = re.compile("[A-Za-z]{2,}")
_SQL = re.compile("^\\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|ALTER|DROP|BEGIN|ATTACH|VACUUM) ")
_CHINESE = re.compile("[\u4e00-\u9fff]")
#: What only programs read: queries, templates, headers, scripts for ffmpeg, words looked for in the output of programs, names of types and zones.
_FOR_PROGRAMS = re.compile(
    "\\n|\\|>|^[{]|^(Bearer|Token|Session:|Authorization|User-Agent|ffconcat|option|from\\(|private, |coalesce|value, max|avg\\(|Literal|str \\| )"
    "|^(No such filter|Unknown encoder|matches no streams|Value error, |China Standard Time|\\(UTC.*|x7 in x7|auto_vacuum.*)$"
)


class Message(NamedTuple):
    """An example of a sentence: `text` has samples for what is not known in the source."""

    place: str
    text: str


def messages() -> Iterator[Message]:
    """Return an example of every sentence, file by file."""
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(SILENT):
                yield from messages_of(name, ast.parse(path.read_text()))
    for path in sorted((ROOT / "collector/village_cli").glob("*.py")):
        # Its other texts are written in both languages where they are.
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _last(node.func) in ONE_LANGUAGE:
                for argument in node.args:
                    yield from messages_of(path.relative_to(ROOT).as_posix(), argument)


def messages_of(name: str, source: ast.AST) -> Iterator[Message]:
    """Return the examples of one source, or of a part of it."""
    for node in _strings(source):
        text = _example(node)
        if (
            " " in text.strip()
            and _LETTERS.search(_example(node, ""))
            and not any(form.search(text) for form in (_SQL, _CHINESE, _FOR_PROGRAMS))
        ):
            yield Message(f"{name}:{node.lineno}", text)


def _strings(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    match node:
        case ast.Constant(value=str()):
            yield node
            return
        case ast.JoinedStr(values=parts):
            yield node
            for part in parts:
                if isinstance(part, ast.FormattedValue):
                    yield from _strings(part.value)
            return
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call(func=function) if _last(function) in QUIET_CALLS:
            return
        case ast.Assign(targets=[ast.Name(id="ADVICE")]) | ast.AnnAssign(target=ast.Name(id="ADVICE")):
            return
        case ast.keyword(arg="name" | "description" | "summary" | "help" | "alias" | "key"):
            return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def _last(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _example(node: ast.Constant | ast.JoinedStr, sample: str = "x7") -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        elif isinstance(part, ast.FormattedValue) and not (text and text[-1].isalpha()):
            # What follows a letter at once is a part that may be absent.
            text += sample if part.format_spec is None else sample[-1:]
    return text
