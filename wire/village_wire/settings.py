"""TOML configuration files: read, checked against a model, and refused with file, line, key and reason."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from village_wire.plain import plain_reason

#: A configuration of 500 devices takes about 100 KB; what is far longer is another file.
MAX_SETTINGS_BYTES = 4 * 1024 * 1024

_M = TypeVar("_M", bound=BaseModel)
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` counts from 1, or is 0 where none can be named; `key` is dotted, as `devices.0.port`."""

    line: int
    key: str
    reason: str


class InvalidSettings(ValueError):
    """A configuration can't be used. The text has one line per problem and never the value that was given."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(_describe(path, problem) for problem in problems))


def load_toml(path: Path, model: type[_M]) -> _M:
    """Return the settings of a file.

    Raises:
        InvalidSettings: the file can't be read, is no TOML, or does not fit the model.
    """
    text, settings = read_toml(path)
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise InvalidSettings(path, problems_of(error, text)) from None


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a file's text and what it says, unchecked.

    Raises:
        InvalidSettings: the file can't be read or is no TOML.
    """
    content = _read(path)
    try:
        text = content.decode()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidSettings(path, [Problem(line, "", "not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(path, [_syntax_problem(str(error))]) from None
    except RecursionError:
        raise InvalidSettings(path, [Problem(0, "", "nested too deeply")]) from None
    except ValueError as error:
        # tomllib lets the limit on the digits of an integer through as it is.
        raise InvalidSettings(path, [Problem(0, "", str(error))]) from None


def problems_of(error: ValidationError, text: str = "", table: tuple[str | int, ...] = ()) -> list[Problem]:
    """Return what a model of a table refuses, each with the line of `text` (TOML) that sets the key or opens its table."""
    errors = error.errors(include_url=False, include_input=False)
    return [problem_at(text, (*table, *item["loc"]), plain_reason(item)) for item in errors]


def problem_at(text: str, place: tuple[str | int, ...], reason: str) -> Problem:
    """Return a problem with the key at `place`, as in `("devices", 0, "port")`, and the line of `text` that sets it."""
    return Problem(_find_line(text, place), ".".join(str(part) for part in place), reason)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise InvalidSettings(path, [Problem(0, "", error.strerror or str(error))]) from None
    if len(content) > MAX_SETTINGS_BYTES:
        raise InvalidSettings(path, [Problem(0, "", f"longer than {MAX_SETTINGS_BYTES} bytes")])
    return content


def _describe(path: Path, problem: Problem) -> str:
    where = f"{path}, line {problem.line}" if problem.line else str(path)
    return f"{where}: {problem.key}: {problem.reason}" if problem.key else f"{where}: {problem.reason}"


def _syntax_problem(text: str) -> Problem:
    at = re.search(r"\s*\(at line (\d+), column \d+\)", text)
    return Problem(int(at[1]), "", text[: at.start()]) if at else Problem(0, "", text)


def _find_line(text: str, place: tuple[str | int, ...]) -> int:
    # The longest prefix of `place` that some line sets or opens; a model's union tags are no keys, so they only shorten it.
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    best_line, best_length = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        key = _KEY.match(line)
        if header:
            names = _names(header[2])
            if header[1] == "[[":
                counts[names] = counts.get(names, -1) + 1
            table = _with_index(names, counts)
            here = table
        elif key:
            here = table + _names(key[1])
        else:
            continue
        if len(here) > best_length and place[: len(here)] == here:
            best_line, best_length = number, len(here)
    return best_line


def _with_index(names: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> tuple[str | int, ...]:
    table: list[str | int] = []
    for end, name in enumerate(names, 1):
        table.append(name)
        if names[:end] in counts:
            table.append(counts[names[:end]])
    return tuple(table)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
