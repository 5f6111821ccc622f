"""Frames to compare with, one file per device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def vectors(device: str) -> list[dict[str, Any]]:
    """Return the vectors of a device; `frame` is in bytes."""
    text = (Path(__file__).parent / f"{device}.yaml").read_text(encoding="utf-8")
    return [vector | {"frame": bytes.fromhex(vector["frame"])} for vector in yaml.safe_load(text)["vectors"]]


def spoken_text(vector: dict[str, Any]) -> str:
    """Return the text of a vector, with `x100` written out."""
    character, _, times = str(vector["text"]).partition(" x")
    return character * int(times) if times else character
