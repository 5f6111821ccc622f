"""How a siren is switched on where its command names tone, duration and volume. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from village_drivers.mqtt.keys import read_word

#: A siren whose command names a duration falls silent by itself after this time, should nobody be able to switch it off.
SIREN_SECONDS = 180
#: Home Assistant, "MQTT siren", command_template. A tone with quotation marks would break out of it.
_SIREN_VALUE = re.compile(r"\{\{\s*(tone|duration|volume_level)(?:\s*\|\s*(?:int|float))?\s*\}\}")


def siren_template(config: Mapping[str, Any]) -> str:
    """Return a siren's command template with full volume, its first tone and a bounded duration filled in."""
    tones = config.get("available_tones")
    tone = re.sub(r"[^\w .-]", "", read_word(tones[0])) if isinstance(tones, list) and tones else ""
    filled = {"volume_level": "1", "duration": str(SIREN_SECONDS), "tone": tone}
    return _SIREN_VALUE.sub(lambda match: filled[match[1]], str(config["command_template"]))
