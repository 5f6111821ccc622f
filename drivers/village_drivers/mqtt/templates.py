"""The part of Home Assistant's templates that devices use in their announcements, read without evaluating any code.

Source: Home Assistant, "Templating", and what Zigbee2MQTT, Tasmota and ESPHome write: `{{ value }}`, `{{ value_json.a['b'][0] }}`
with the filters `float`, `int`, `round(n)`, `default(x)`, `lower`, `upper`, `trim`, `is_defined`; `{{ 'A' if PATH == 'x' else 'B' }}`;
`{% if PATH == 'x' %}A{% else %}B{% endif %}`. Anything else is `UnsupportedTemplate`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TypeVar

#: The longest template that this module understands has a fraction of it.
MAX_TEMPLATE = 500
_FILTERS = frozenset({"float", "int", "round", "default", "d", "lower", "upper", "trim", "string", "is_defined"})
_COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'[^'\\]*'|"[^"\\]*")|(?P<number>-?[0-9]{1,15}(?:\.[0-9]{1,15})?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<sign>==|!=|<=|>=|[<>.\[\]()|]))""",
    re.ASCII,
)
_EXPRESSION = re.compile(r"\s*\{\{-?(.*?)-?\}\}\s*", re.DOTALL)
_IF = re.compile(r"\s*\{%-?\s*if\s(.*?)-?%\}([^{}]*)\{%-?\s*else\s*-?%\}([^{}]*)\{%-?\s*endif\s*-?%\}\s*", re.DOTALL)
_COMMAND_VALUE = re.compile(r"\{\{\s*value\s*\}\}")


class UnsupportedTemplate(ValueError):
    """The template uses what this module does not understand; the text names it."""


class _Missing:
    """What a path yields that leads nowhere."""


MISSING = _Missing()
_T = TypeVar("_T")
_Literal = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Payload:
    """A message's payload as templates see it. `document` is `MISSING` when the payload is not JSON."""

    text: str
    document: object


@dataclass(frozen=True, slots=True)
class _Filter:
    name: str
    argument: _Literal


@dataclass(frozen=True, slots=True)
class _Path:
    root: str
    steps: tuple[str | int, ...]
    filters: tuple[_Filter, ...]

    def value(self, payload: Payload) -> object:
        current: object = payload.text if self.root == "value" else payload.document
        for step in self.steps:
            current = _step(current, step)
        for item in self.filters:
            current = _apply(item, current)
        return current


@dataclass(frozen=True, slots=True)
class _Test:
    path: _Path
    comparison: str
    literal: _Literal

    def holds(self, payload: Payload) -> bool:
        value = self.path.value(payload)
        if not self.comparison:
            return value is not MISSING and bool(value)
        if self.comparison == "==":
            return value == self.literal
        if self.comparison == "!=":
            return value != self.literal
        if not isinstance(value, (int, float)) or not isinstance(self.literal, (int, float)):
            return False
        return {
            "<": value < self.literal,
            ">": value > self.literal,
            "<=": value <= self.literal,
            ">=": value >= self.literal,
        }[self.comparison]


@dataclass(frozen=True, slots=True)
class _Choice:
    test: _Test
    yes: str
    no: str

    def value(self, payload: Payload) -> object:
        return self.yes if self.test.holds(payload) else self.no


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was understood."""

    source: str
    _body: _Path | _Choice

    def render(self, payload: Payload) -> str | None:
        """Return the text that the template yields, or None where it leads to nothing (the message does not concern it)."""
        value = self._body.value(payload)
        return None if value is MISSING or value is None else _text(value)


def read_payload(payload: bytes) -> Payload:
    """Decode a message; what is not UTF-8 is replaced, what is not JSON has no document."""
    text = payload.decode(errors="replace")
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        document = MISSING
    return Payload(text, document)


def parse_template(source: str) -> Template:
    """Read a value template; raise `UnsupportedTemplate` for one that needs more than this module."""
    if len(source) > MAX_TEMPLATE:
        raise UnsupportedTemplate(f"template of {len(source)} characters")
    match = _EXPRESSION.fullmatch(source)
    if match:
        return Template(source, _Parser(source, match[1]).expression())
    match = _IF.fullmatch(source)
    if match:
        return Template(source, _Choice(_Parser(source, match[1]).test_alone(), match[2].strip(), match[3].strip()))
    raise UnsupportedTemplate(f"template {source[:80]!r}")


def fill_command(source: str, value: str) -> str:
    """Put `value` into a command template such as `{"state": "{{ value }}"}`; raise `UnsupportedTemplate` for any other kind."""
    filled = _COMMAND_VALUE.sub(lambda _: value, source)
    if len(source) > MAX_TEMPLATE or re.search(r"\{\{|\{%|\{#", _COMMAND_VALUE.sub("", source)):
        raise UnsupportedTemplate(f"command template {source[:80]!r}")
    return filled


class _Parser:
    def __init__(self, source: str, text: str) -> None:
        self._source = source
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._unsupported()
            self._tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()

    def expression(self) -> _Path | _Choice:
        if self._kind() in {"string", "number"}:
            yes = self._literal()
            self._expect("if")
            test = self._test()
            self._expect("else")
            return self._end(_Choice(test, _text(yes), _text(self._literal())))
        return self._end(self._path())

    def test_alone(self) -> _Test:
        return self._end(self._test())

    def _test(self) -> _Test:
        path = self._path()
        if self._peek() in _COMPARISONS:
            return _Test(path, self._next(), self._literal())
        return _Test(path, "", None)

    def _path(self) -> _Path:
        root = self._next()
        if root not in {"value", "value_json"}:
            raise self._unsupported()
        steps: list[str | int] = []
        while self._peek() in {".", "["}:
            if self._next() == ".":
                if self._kind() != "name":
                    raise self._unsupported()
                steps.append(self._next())
            else:
                step = self._literal()
                if not isinstance(step, (str, int)):
                    raise self._unsupported()
                steps.append(step)
                self._expect("]")
        filters: list[_Filter] = []
        while self._peek() == "|":
            self._next()
            filters.append(self._filter())
        return _Path(root, tuple(steps), tuple(filters))

    def _filter(self) -> _Filter:
        name = self._next()
        if name not in _FILTERS:
            raise self._unsupported()
        argument: _Literal = None
        if self._peek() == "(":
            self._next()
            if self._peek() != ")":
                argument = self._literal()
            self._expect(")")
        return _Filter(name, argument)

    def _literal(self) -> _Literal:
        kind, word = self._kind(), self._next()
        if kind == "string":
            return word[1:-1]
        if kind == "number":
            return float(word) if "." in word else int(word)
        words: dict[str, _Literal] = {"true": True, "false": False, "none": None}
        if kind == "name" and word.lower() in words:
            return words[word.lower()]
        raise self._unsupported()

    def _kind(self) -> str:
        return self._tokens[0][0] if self._tokens else ""

    def _peek(self) -> str:
        return self._tokens[0][1] if self._tokens else ""

    def _next(self) -> str:
        if not self._tokens:
            raise self._unsupported()
        return self._tokens.pop(0)[1]

    def _expect(self, word: str) -> None:
        if self._next() != word:
            raise self._unsupported()

    def _end(self, value: _T) -> _T:
        if self._tokens:
            raise self._unsupported()
        return value

    def _unsupported(self) -> UnsupportedTemplate:
        return UnsupportedTemplate(f"template {self._source[:80]!r}")


def number(text: str) -> float | None:
    """Return a finite number, or None for text that is none."""
    try:
        found = float(text)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _step(current: object, step: str | int) -> object:
    if isinstance(current, dict):
        return current.get(step, MISSING)
    if isinstance(current, list) and isinstance(step, int) and -len(current) <= step < len(current):
        return current[step]
    return MISSING


def _apply(item: _Filter, value: object) -> object:
    if item.name in {"default", "d"}:
        return item.argument if value is MISSING else value
    if value is MISSING or item.name == "is_defined":
        return value
    if item.name in {"float", "int", "round"}:
        found = number(_text(value))
        if found is None:
            # Jinja's filters fall back to their argument, `round` to an error.
            return MISSING if item.argument is None or item.name == "round" else item.argument
        if item.name == "float":
            return found
        if item.name == "int":
            return int(found)
        return _round(found, int(item.argument) if isinstance(item.argument, (int, float)) else 0)
    text = _text(value)
    return {"lower": text.lower(), "upper": text.upper(), "trim": text.strip()}.get(item.name, text)


def _round(value: float, digits: int) -> object:
    try:
        return round(value, digits)
    except OverflowError:
        # 1.7e308 to its hundreds of digits before the point would be 2e308.
        return MISSING


def _text(value: object) -> str:
    """Return a value as Jinja prints it: `True`, `None`, `21.5`."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Python refuses to print integers of thousands of digits.
        return str(value) if abs(value) < 10**300 else ""
    return str(value)
