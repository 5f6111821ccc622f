"""How strong each chime usually is at each microphone, kept across restarts: only a box that knows that can tell a dead horn from a noise."""

from __future__ import annotations

import json
import logging
from pathlib import Path

_log = logging.getLogger(__name__)

FILE = "chimes-heard.json"
#: Loudspeakers times volumes; the longest unheard are forgotten.
MAX_KNOWN = 500
_MAX_BYTES = 100_000
#: What was heard last counts so much, so that one odd hearing changes little and a turned knob is followed.
_SHARE = 0.25
#: Beyond it a level is nonsense: 16 bits hold 96 dB.
_MOST_DB = 200.0


class HeardLevels:
    """Keys name loudspeaker, microphone and volume; levels are `Figures.chime_db`. Reads and writes its file in the caller's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, float] | None = None

    def usual(self, key: str) -> float | None:
        """Return the usual level, None if the chime was never heard."""
        return self._load().get(key)

    def heard(self, key: str, level_db: float) -> None:
        """A chime was heard. A disk that takes nothing costs no more than learning it again."""
        known = self._load()
        before = known.pop(key, level_db)
        known[key] = round(before + _SHARE * (level_db - before), 2)
        while len(known) > MAX_KNOWN:
            del known[next(iter(known))]
        part = self._path.with_suffix(".part")
        try:
            part.write_text(json.dumps(known))
            part.replace(self._path)
        except OSError as error:
            _log.warning("how strong chimes are is not kept: %s", error)

    def _load(self) -> dict[str, float]:
        if self._known is None:
            self._known = {}
            try:
                with self._path.open("rb") as file:
                    self._known = read_levels(file.read(_MAX_BYTES))
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                _log.warning("%s is not readable, chimes are learnt again: %s", self._path, error)
        return self._known


def read_levels(content: bytes) -> dict[str, float]:
    """Read the file; raises `ValueError`."""
    try:
        document = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - a file that is damaged, not a caller that errs
    found = {}
    for key, value in document.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST_DB:
            raise ValueError(f"{key[:80]!r} has no level")
        found[key] = float(value)
    return found
