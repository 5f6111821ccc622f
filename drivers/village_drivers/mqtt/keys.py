"""Keys and values of a discovery message: abbreviations, the base topic, and values of the wrong type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from village_drivers.mqtt.templates import Template, UnsupportedTemplate, parse_template

#: The longest topics of Zigbee2MQTT, Tasmota and ESPHome have half of it.
MAX_TOPIC = 256
#: Names, identifiers and single words of an announcement.
MAX_TEXT = 128
_MAX_COMMAND = 1000

ABBREVIATIONS: Mapping[str, str] = {
    "atype": "automation_type", "avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic",
    "avty_tpl": "availability_template", "cmd_off_tpl": "command_off_template", "cmd_t": "command_topic",
    "cmd_tpl": "command_template", "cmps": "components", "dev": "device", "dev_cla": "device_class", "e": "encoding",
    "ent_cat": "entity_category", "exp_aft": "expire_after", "o": "origin", "obj_id": "object_id", "p": "platform",
    "pl": "payload", "pl_avail": "payload_available", "pl_lock": "payload_lock", "pl_not_avail": "payload_not_available",
    "pl_off": "payload_off", "pl_on": "payload_on", "pl_unlk": "payload_unlock", "stat_locked": "state_locked",
    "stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic", "stat_unlocked": "state_unlocked",
    "stat_val_tpl": "state_value_template", "stype": "subtype", "t": "topic", "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template",
}  # fmt: skip
DEVICE_ABBREVIATIONS: Mapping[str, str] = {"cns": "connections", "ids": "identifiers", "sw": "sw_version"}


class InvalidDiscovery(ValueError):
    """The message is no announcement; the text says why."""


def expand(config: Mapping[Any, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the object with its abbreviated keys written out."""
    return {names.get(key, key): value for key, value in config.items() if isinstance(key, str)}


def expand_topics(base: object, config: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a leading or trailing `~` of every topic by the base topic."""
    if not isinstance(base, str) or len(base) > MAX_TOPIC:
        return dict(config)
    full = dict(config)
    for key, value in config.items():
        if key.endswith("topic") and isinstance(value, str) and value:
            text = base + value[1:] if value[0] == "~" else value
            full[key] = text[:-1] + base if text[-1:] == "~" else text
    return full


def read_topic(config: Mapping[str, Any], key: str) -> str:
    """Return a topic; raise `InvalidDiscovery` for a missing one, a filter, or one that is too long."""
    topic = config.get(key)
    if not isinstance(topic, str) or not topic:
        raise InvalidDiscovery(f"no {key}")
    # A wildcard would subscribe to other devices' messages, `$` to the broker's own or a shared subscription.
    if len(topic.encode(errors="replace")) > MAX_TOPIC or topic[0] == "$" or any(sign in topic for sign in "+#\0"):
        raise InvalidDiscovery(f"{key} is no topic")
    if not topic.isprintable():
        raise InvalidDiscovery(f"{key} has signs that can't be printed")
    return topic


def read_template(config: Mapping[str, Any], key: str) -> Template | None:
    """Return a template, or None where there is none; raise `UnsupportedTemplate`."""
    source = config.get(key)
    if source is None or source == "":
        return None
    if not isinstance(source, str):
        raise UnsupportedTemplate(f"{key} is no text")
    return parse_template(source)


def read_payload_text(config: Mapping[str, Any], key: str, default: str) -> str:
    """Return a payload as text: Home Assistant prints `false` as `False`, as its templates do."""
    value = config.get(key)
    return _clean(value)[:_MAX_COMMAND] if isinstance(value, (bool, int, float, str)) else default


def read_word(value: object) -> str:
    """Return a short text, empty for what is neither text nor integer."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return _clean(value)[:MAX_TEXT].strip()


def read_text(value: object) -> str:
    """Return a text, empty for what is none."""
    return _clean(value) if isinstance(value, str) else ""


def _clean(value: str | float) -> str:
    # JSON may hold halves of surrogate pairs, which no message can carry, and integers that Python refuses to print.
    if isinstance(value, int) and abs(value) >= 10**18:
        return ""
    return str(value).encode(errors="replace").decode()
