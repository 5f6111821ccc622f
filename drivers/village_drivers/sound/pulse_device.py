"""On which sink PulseAudio plays: when a sound card goes away it moves what sounds to another one, and says so to nobody else."""

from __future__ import annotations

import re

#: The dummy that `module-always-sink` puts in the place of the last sound card.
DUMMY_SINK = "auto_null"
_ON = re.compile(rb"(?:Connected|Stream moved) to device (\S+) \(")


class PulseDevice:
    """Follows the lines of `pacat --verbose`."""

    def __init__(self, target: str) -> None:
        """`target` is the sink that was asked for; empty: whichever is the default one. It may be a number or `@…@`, too."""
        is_name = target != "" and target[0] != "@" and not target.isdigit()
        self._follows_default = target == ""
        #: The sink where it belongs, once that is known.
        self._sink = target if is_name else ""
        #: The sink where the sound comes out instead, "" as long as it is where it should be.
        self.astray = ""

    def look(self, line: bytes) -> None:
        """Take a line."""
        found = _ON.search(line)
        if found is None:
            return
        name = found[1].decode(errors="replace")
        if self._follows_default:
            wrong = name == DUMMY_SINK
        else:
            self._sink = self._sink or name
            wrong = name != self._sink
        self.astray = name if wrong else ""
