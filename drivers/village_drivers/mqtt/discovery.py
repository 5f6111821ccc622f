"""Reading Home Assistant discovery messages. Pure.

Source: Home Assistant, "MQTT", discovery topic, discovery payload (single component and device), supported abbreviations, base
topic; and the pages of the single components for their keys and defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from village_drivers.mqtt.entities import Availability, DeviceInfo, Entity, Omitted
from village_drivers.mqtt.keys import (
    ABBREVIATIONS,
    DEVICE_ABBREVIATIONS,
    MAX_TEXT,
    MAX_TOPIC,
    InvalidDiscovery,
    expand,
    expand_topics,
    read_payload_text,
    read_template,
    read_text,
    read_topic,
    read_word,
)
from village_drivers.mqtt.measures import measure_of
from village_drivers.mqtt.payloads import InvalidPayload, parse_command_template
from village_drivers.mqtt.sirens import siren_template
from village_drivers.mqtt.templates import UnsupportedTemplate, fill_command

#: Device announcements with dozens of components stay below 40 KB.
MAX_DISCOVERY = 128 * 1024
#: Components of one device; the largest Zigbee devices have about 60.
MAX_COMPONENTS = 100
_MAX_AVAILABILITY = 8

_DEVICE = "device"
#: Keys of a device announcement that its components inherit.
_SHARED = (
    "availability", "availability_mode", "availability_topic", "availability_template", "payload_available",
    "payload_not_available", "state_topic", "command_topic", "encoding", "~",
)  # fmt: skip
#: Zigbee2MQTT announces sirens as a switch of one of these names.
_SIREN_NAMES = frozenset({"alarm", "switch_alarm", "siren", "switch_siren"})


@dataclass(frozen=True, slots=True)
class DiscoveryTopic:
    """`<prefix>/<component>/[<node>/]<object>/config`."""

    component: str
    node: str
    object: str


def parse_topic(prefix: str, topic: str) -> DiscoveryTopic | None:
    """Take a discovery topic apart, or return None for another topic."""
    if not topic.startswith(f"{prefix}/") or len(topic) > MAX_TOPIC:
        return None
    match topic[len(prefix) + 1 :].split("/"):
        case [component, name, "config"]:
            return DiscoveryTopic(component, "", name)
        case [component, node, name, "config"]:
            return DiscoveryTopic(component, node, name)
    return None


def parse_discovery(topic: DiscoveryTopic, payload: bytes) -> list[Entity | Omitted]:
    """Return the entities of an announcement; raise `InvalidDiscovery` for a message that is none."""
    if len(payload) > MAX_DISCOVERY:
        raise InvalidDiscovery(f"announcement of {len(payload)} bytes")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise InvalidDiscovery("announcement is not JSON") from None
    if not isinstance(document, dict):
        raise InvalidDiscovery("announcement is not a JSON object")
    root = expand(document, ABBREVIATIONS)
    base = f"{topic.component}/{topic.node}/{topic.object}"
    info = _device_info(root, topic)
    if topic.component != _DEVICE:
        return [_entity(topic.component, topic.object, base, info, root)]
    components = root.get("components")
    if not isinstance(components, dict) or not components:
        raise InvalidDiscovery("device announcement without components")
    if len(components) > MAX_COMPONENTS:
        raise InvalidDiscovery(f"device announcement with {len(components)} components")
    shared = {key: root[key] for key in _SHARED if key in root}
    found: list[Entity | Omitted] = []
    for name, component in components.items():
        if not isinstance(component, dict):
            continue
        own = expand(component, ABBREVIATIONS)
        if set(own) <= {"platform"}:
            # A component with nothing but its platform is one that was removed.
            continue
        found.append(
            _entity(read_word(own.get("platform")), name[:MAX_TEXT], f"{base}/{name[:MAX_TEXT]}", info, shared | own)
        )
    return found


def _entity(component: str, name: str, key: str, info: DeviceInfo, config: Mapping[str, Any]) -> Entity | Omitted:
    config = expand_topics(config.get("~"), config)
    try:
        entity = _by_component(component, name, Entity(key, "event", name, info, **_common(config)), config)
    except UnsupportedTemplate as error:
        return Omitted(key, name, info, str(error), worth_telling=True)
    except InvalidDiscovery as error:
        return Omitted(key, name, info, str(error))
    return entity


def _by_component(component: str, name: str, entity: Entity, config: Mapping[str, Any]) -> Entity:
    device_class = read_word(config.get("device_class"))
    if component == "sensor":
        measure = measure_of(device_class, read_word(config.get("unit_of_measurement")))
        if measure is None:
            raise InvalidDiscovery(
                f"sensor of class {device_class or 'none'} in {read_word(config.get('unit_of_measurement')) or 'no unit'}"
            )
        return replace(_with_state(entity, config), role="measure", measure=measure, device_class=device_class)
    if component == "binary_sensor":
        entity = _with_state(entity, config)
        return replace(
            entity,
            role="binary",
            device_class=device_class,
            state_on=read_payload_text(config, "payload_on", "ON"),
            state_off=read_payload_text(config, "payload_off", "OFF"),
        )
    if component in {"switch", "siren"}:
        siren = component == "siren" or name in _SIREN_NAMES
        return _switch(replace(entity, role="siren" if siren else "switch"), config, json_command=component == "siren")
    if component == "light":
        return _light(replace(entity, role="switch"), config)
    if component == "lock":
        entity = _commanded(entity, config, ("payload_unlock", "UNLOCK"), ("payload_lock", "LOCK"))
        on, off = (
            read_payload_text(config, "state_unlocked", "UNLOCKED"),
            read_payload_text(config, "state_locked", "LOCKED"),
        )
        return replace(entity, role="lock", state_on=on, state_off=off)
    if component == "notify":
        return _notify(entity, config)
    if component == "device_automation":
        return _trigger(entity, config)
    if component == "event":
        return replace(_with_state(entity, config), role="event")
    raise InvalidDiscovery(f"component {component[:40]} is not used")


def _switch(entity: Entity, config: Mapping[str, Any], *, json_command: bool) -> Entity:
    on, off = read_payload_text(config, "payload_on", "ON"), read_payload_text(config, "payload_off", "OFF")
    key = "state_value_template" if json_command else "value_template"
    if json_command and isinstance(config.get("command_template"), str):
        config = {**config, "command_template": siren_template(config)}
    commanded = _commanded(entity, config, ("payload_on", "ON"), ("payload_off", "OFF"), template_key=key)
    if json_command and "command_template" not in config:
        # Home Assistant, "MQTT siren": without a command template the payload is JSON.
        commanded = replace(commanded, command_on=json.dumps({"state": on}), command_off=json.dumps({"state": off}))
    return replace(
        commanded,
        state_on=read_payload_text(config, "state_on", on),
        state_off=read_payload_text(config, "state_off", off),
    )


def _light(entity: Entity, config: Mapping[str, Any]) -> Entity:
    schema = read_word(config.get("schema")) or "basic"
    if schema == "json":
        topics = {key: config[key] for key in ("state_topic", "command_topic") if key in config}
        return _commanded(
            entity,
            {**topics, "value_template": "{{ value_json.state }}"},
            ("", '{"state": "ON"}'),
            ("", '{"state": "OFF"}'),
        )
    if schema != "basic":
        raise InvalidDiscovery(f"light of schema {schema[:40]}")
    on, off = read_payload_text(config, "payload_on", "ON"), read_payload_text(config, "payload_off", "OFF")
    commanded = _commanded(
        entity, config, ("payload_on", "ON"), ("payload_off", "OFF"), template_key="state_value_template"
    )
    return replace(commanded, state_on=on, state_off=off)


def _notify(entity: Entity, config: Mapping[str, Any]) -> Entity:
    try:
        say = parse_command_template(read_text(config.get("command_template")) or "{{ value }}")
    except InvalidPayload as error:
        raise UnsupportedTemplate(str(error)) from None
    return replace(entity, role="speaker", command_topic=read_topic(config, "command_topic"), say=say)


def _trigger(entity: Entity, config: Mapping[str, Any]) -> Entity:
    kind, subtype = read_word(config.get("type")), read_word(config.get("subtype"))
    if read_word(config.get("automation_type")) != "trigger":
        raise InvalidDiscovery("device automation that is no trigger")
    # Zigbee2MQTT calls every type `action` and puts the action into the subtype.
    action = subtype if kind in {"action", "click"} else f"{subtype} {kind}".strip()
    if not action:
        raise InvalidDiscovery("trigger without a type")
    payload = read_payload_text(config, "payload", "")
    return replace(
        entity,
        role="trigger",
        state_topic=read_topic(config, "topic"),
        template=read_template(config, "value_template"),
        action=action[:80],
        state_on=payload,
    )


def _common(config: Mapping[str, Any]) -> dict[str, Any]:
    expire = config.get("expire_after")
    mode = read_word(config.get("availability_mode"))
    known = isinstance(expire, (int, float)) and not isinstance(expire, bool) and 0 < expire < 10_000_000
    return {
        "availability": _availability(config),
        "availability_mode": mode if mode in {"all", "any", "latest"} else "latest",
        "expire_after": float(expire) if known and expire is not None else None,
        "secondary": bool(config.get("entity_category")),
    }


def _availability(config: Mapping[str, Any]) -> tuple[Availability, ...]:
    listed = config.get("availability")
    entries = listed if isinstance(listed, list) else [listed] if isinstance(listed, dict) else []
    found = []
    for entry in entries[:_MAX_AVAILABILITY]:
        if not isinstance(entry, dict):
            raise InvalidDiscovery("availability is not a list of objects")
        full = expand_topics(config.get("~"), expand(entry, ABBREVIATIONS))
        template = read_template(full, "value_template")
        online, offline = (
            read_payload_text(full, "payload_available", "online"),
            read_payload_text(full, "payload_not_available", "offline"),
        )
        found.append(Availability(read_topic(full, "topic"), online, offline, template))
    if not found and config.get("availability_topic"):
        online, offline = (
            read_payload_text(config, "payload_available", "online"),
            read_payload_text(config, "payload_not_available", "offline"),
        )
        found.append(
            Availability(
                read_topic(config, "availability_topic"),
                online,
                offline,
                read_template(config, "availability_template"),
            )
        )
    return tuple(found)


def _with_state(entity: Entity, config: Mapping[str, Any], template_key: str = "value_template") -> Entity:
    return replace(entity, state_topic=read_topic(config, "state_topic"), template=read_template(config, template_key))


def _commanded(
    entity: Entity,
    config: Mapping[str, Any],
    on: tuple[str, str],
    off: tuple[str, str],
    template_key: str = "value_template",
) -> Entity:
    if config.get("state_topic"):
        entity = _with_state(entity, config, template_key)
    command_on, command_off = read_payload_text(config, *on), read_payload_text(config, *off)
    if "command_template" in config:
        template = read_text(config.get("command_template"))
        command_on = fill_command(template, command_on)
        command_off = fill_command(read_text(config.get("command_off_template")) or template, command_off)
    return replace(
        entity, command_topic=read_topic(config, "command_topic"), command_on=command_on, command_off=command_off
    )


def _device_info(root: Mapping[str, Any], topic: DiscoveryTopic) -> DeviceInfo:
    block = root.get("device")
    device = expand(block, DEVICE_ABBREVIATIONS) if isinstance(block, dict) else {}
    listed = device.get("identifiers")
    raw = listed if isinstance(listed, list) else [listed]
    identifiers = [read_word(item) for item in raw[:8]]
    connections = device.get("connections")
    pairs = connections[:8] if isinstance(connections, list) else []
    identifiers += [read_word(pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) == 2]
    known = tuple(item for item in identifiers if item)
    if not known:
        # Without a device block each entity is a device of its own.
        known = (read_word(root.get("unique_id")) or f"{topic.node}/{topic.object}".strip("/"),)
    name = read_word(device.get("name")) or ("" if device else read_word(root.get("name")))
    return DeviceInfo(known[0], known, name[:80], read_word(device.get("sw_version"))[:80])
