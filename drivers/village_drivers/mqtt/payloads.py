"""Payloads with placeholders: whatever a text holds, it stays a text. Pure.

`{text}`, `{volume}` and `{id}` are filled in. In a payload that is JSON a text is escaped as JSON asks for; a payload that is
one line of words gets a text without line ends.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

#: Utterances and settings of real devices have a fraction of it.
MAX_TEMPLATE = 1000
#: A path into a state message.
MAX_STEPS = 8
_PLACEHOLDER = re.compile(r"\{(text|volume|id)\}")
#: Home Assistant's `{{ value }}` and `{{ value | tojson }}`, the latter with the quotes that it makes.
_VALUE = re.compile(r"\{\{-?\s*value\s*-?\}\}")
_VALUE_JSON = re.compile(r"\{\{-?\s*value\s*\|\s*to_?json\s*-?\}\}")
#: Unicode keeps it free for inner use: no text that travels holds it.
_MARK = "\ufdd0"


class InvalidPayload(ValueError):
    """The template is none; the text says why."""


@dataclass(frozen=True, slots=True)
class PayloadTemplate:
    """A payload that was understood. Made by `parse_payload` and `parse_command_template`."""

    source: str
    _form: Literal["json", "markup", "words"]

    @property
    def speaks(self) -> bool:
        """Whether it has a place for the text."""
        return f"{_MARK}text{_MARK}" in self.source

    def fill(self, text: str = "", volume: int | None = None, identity: str = "") -> bytes:
        """Return the payload; a `{volume}` without a volume is 100."""
        # A number or our own word can break nothing, so it may stand outside of quotation marks too.
        level = "100" if volume is None else str(volume)
        source = self.source.replace(f"{_MARK}volume{_MARK}", level).replace(f"{_MARK}id{_MARK}", identity)
        spoken = clean(text)
        if self._form == "json":
            return json.dumps(_in_strings(json.loads(source), spoken), ensure_ascii=False).encode()
        if self._form == "markup":
            spoken = html.escape(spoken)
        return source.replace(f"{_MARK}text{_MARK}", " ".join(spoken.split())).encode()


def parse_payload(source: str) -> PayloadTemplate:
    """Read a template of the configuration; raise `InvalidPayload` for one that looks like JSON and is none."""
    return _parse(_PLACEHOLDER.sub(rf"{_MARK}\1{_MARK}", source), source)


def parse_command_template(source: str) -> PayloadTemplate:
    """Read Home Assistant's `command_template` of a text; raise `InvalidPayload` for one that needs more than `value`."""
    marked = _VALUE_JSON.sub(f'"{_MARK}text{_MARK}"', source)
    marked = _VALUE.sub(f"{_MARK}text{_MARK}", marked)
    if re.search(r"\{\{|\{%|\{#", marked):
        raise InvalidPayload(f"command template {source[:80]!r}")
    found = _parse(marked, source)
    if not found.speaks:
        raise InvalidPayload(f"command template {source[:80]!r} has no place for a text")
    return found


def _parse(marked: str, source: str) -> PayloadTemplate:
    if len(source) > MAX_TEMPLATE or _MARK in source:
        raise InvalidPayload(f"payload of {len(source)} characters" if _MARK not in source else "payload with U+FDD0")
    start = marked.lstrip()[:1]
    if start in {"{", "["}:
        sample = re.sub(f"{_MARK}(?:volume|id){_MARK}", "1", marked)
        try:
            json.loads(sample)
        except (ValueError, RecursionError):
            raise InvalidPayload(f"payload {source[:80]!r} looks like JSON and is none") from None
        return PayloadTemplate(marked, "json")
    return PayloadTemplate(marked, "markup" if start == "<" else "words")


def clean(text: str) -> str:
    """Return a text without control characters but line ends, and without halves of characters."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\r\n", "\n")
    kept = "".join(" " if unicodedata.category(char) == "Cc" and char != "\n" else char for char in whole)
    return kept.replace(_MARK, " ").strip()


def _in_strings(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return value.replace(f"{_MARK}text{_MARK}", text)
    if isinstance(value, dict):
        return {_in_strings(key, text): _in_strings(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_strings(item, text) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a message: the whole of it, or a value of its JSON."""

    steps: tuple[str, ...]

    def read(self, payload: bytes) -> str | None:
        """Return what stands there as text, None where nothing does. Booleans are `true` and `false`, as in JSON."""
        text = payload.decode(errors="replace")
        if not self.steps:
            return text.strip()
        try:
            current: object = json.loads(text)
        except (ValueError, RecursionError):
            return None
        for step in self.steps:
            if isinstance(current, dict):
                current = current.get(step)
            elif isinstance(current, list) and step.isdecimal() and len(step) < 6 and int(step) < len(current):
                current = current[int(step)]
            else:
                return None
        if isinstance(current, bool):
            return "true" if current else "false"
        if isinstance(current, int) and abs(current) >= 10**18:
            # Python refuses to print integers of thousands of digits.
            return None
        return str(current).strip() if isinstance(current, (str, int, float)) else None


def parse_place(source: str) -> Place:
    """Read a path such as `audio.state` or `outputs.0.playing`; empty: the whole message. Raises `InvalidPayload`."""
    steps = tuple(source.split(".")) if source else ()
    if len(steps) > MAX_STEPS or not all(steps):
        raise InvalidPayload(f"path {source[:80]!r} is none")
    return Place(steps)
