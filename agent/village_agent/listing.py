"""Tables and descriptions that the command line prints."""

from __future__ import annotations

import types
import typing
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from village_agent.check import Row
from village_drivers.registry import DRIVERS
from village_wire.language import Language
from village_wire.reasons import told
from village_wire.states import Status, advice

_STATUS_ZH: dict[Status, str] = {"ok": "正常", "degraded": "降级", "down": "故障", "unknown": "未知"}


def check_table(rows: Sequence[Row], language: Language) -> str:
    """Return the findings of a check, one line per device and one below it for the advice."""
    chinese = language == "zh"
    head = ("状态", "设备", "驱动", "代码", "依据") if chinese else ("STATUS", "DEVICE", "DRIVER", "CODE", "EVIDENCE")
    cells = [
        (
            _STATUS_ZH[row.status] if chinese else row.status,
            row.device or row.kind,
            row.driver,
            row.code,
            told(row.evidence, language),
        )
        for row in rows
    ]
    lines = table([head, *cells])
    result = [lines[0]]
    for line, row in zip(lines[1:], rows, strict=True):
        result.append(line)
        text = advice(row.code, language)
        if row.status != "ok" and text:
            result.append(f"          → {text}")
    return "\n".join(result)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with aligned columns; Chinese characters are two columns wide."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def describe(name: str, *, with_settings: bool) -> dict[str, Any]:
    """Return a driver's summary and, if asked for, its settings; without its libraries `problem` says what is missing."""
    entry = DRIVERS[name]
    described: dict[str, Any] = {"name": name, "summary": {"en": entry.summary, "zh": entry.summary_zh}}
    if with_settings:
        try:
            described["settings"] = [_of_driver(one, name) for one in _settings(entry.load().Config)]
        except ImportError as error:
            described["problem"] = f"can't be loaded: {error}; install village-edge[agent]"
    return described


def drivers_text(described: Sequence[dict[str, Any]]) -> str:
    """Return the descriptions for people."""
    if "settings" not in described[0] and "problem" not in described[0]:
        return "\n".join(table([(one["name"], one["summary"]["en"], one["summary"]["zh"]) for one in described]))
    return "\n\n".join(_driver_text(one) for one in described)


def _driver_text(one: dict[str, Any]) -> str:
    lines = [f"{one['name']}: {one['summary']['en']}. {one['summary']['zh']}。"]
    if "problem" in one:
        lines.append(f"  {one['problem']}")
    for setting in one.get("settings", ()):
        needed = "required 必填" if setting["required"] else f"default 默认 {_toml(setting['default'])}"
        lines += ["", f"  {setting['key']}  ({setting['type']}; {needed})"]
        if setting["description"]:
            lines.append(f"      {setting['description']}")
        lines += [
            f"      e.g. 例如 {setting['key'].rpartition('.')[2]} = {_toml(text)}" for text in setting["examples"][:2]
        ]
    return "\n".join(lines)


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        nested = _nested(field)
        required = field.is_required()
        yield {
            "key": key,
            "type": _type_name(field.annotation),
            "required": required,
            "default": None if required else _default(field),
            "description": field.description or _COMMON.get(key, ""),
            "examples": list(field.examples or ()),
        }
        for inner in nested:
            yield from _settings(inner, f"{key}.")


def _of_driver(setting: dict[str, Any], name: str) -> dict[str, Any]:
    if setting["key"] != "driver":
        return setting
    return setting | {
        "type": _toml(name),
        "description": f"Always `{name}`. 固定为 {name}。",
        "examples": [name],
    }


#: Settings that all drivers share and `kit.DriverConfig` does not describe.
_COMMON = {
    "id": "Name of the device, unique on this box. 设备名称，在本机唯一。",
    "name": "What people call it. 显示名称。",
    "tags": "Words by which broadcasts reach it wherever it is, as school. 标签，播报可按标签选择设备，如 school。",
}


def _default(field: FieldInfo) -> object:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else _plain(value)


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple, set, frozenset)) else str(value)


def _nested(field: FieldInfo) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    pending: list[Any] = [field.annotation]
    while pending:
        one = pending.pop(0)
        if isinstance(one, type) and issubclass(one, BaseModel):
            found.append(one)
        pending += get_args(one)
    return found


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(_toml(value) for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " | ".join(_type_name(one) for one in arguments if one is not type(None))
    if origin in {list, tuple, set, frozenset}:
        return f"list of {_type_name(arguments[0])}" if arguments else "list"
    if origin is dict:
        return "table"
    name = getattr(annotation, "__name__", str(annotation))
    known = {"str": "text", "int": "whole number", "float": "number", "bool": "true | false", "Path": "path"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return known.get(name, "text" if name.startswith("Secret") else name)


def _toml(value: object) -> str:
    if value is None:
        return "none 无"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    text = str(value)
    return f"'{text}'" if '"' in text else f'"{text}"'


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
