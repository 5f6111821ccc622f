"""What `pacat` says of the sink where it plays."""

from __future__ import annotations

import pytest

from village_drivers.sound.pulse_device import PulseDevice
from village_drivers.sound.timing import PulseTiming


@pytest.mark.parametrize(
    ("target", "sinks", "astray"),
    [
        ("horn", ["horn"], ""),
        ("horn", ["horn", "other"], "other"),
        ("horn", ["horn", "other", "horn"], ""),
        # PipeWire takes another one where there is none of that name.
        ("horn", ["other"], "other"),
        ("", ["horn", "other"], ""),
        ("", ["horn", "auto_null"], "auto_null"),
        ("", ["auto_null"], "auto_null"),
        ("0", ["horn"], ""),
        ("0", ["horn", "other"], "other"),
        ("@DEFAULT_SINK@", ["horn", "other"], "other"),
    ],
)
def test_it_knows_when_the_sound_comes_out_elsewhere(target: str, sinks: list[str], astray: str) -> None:
    device = PulseDevice(target)
    timing = PulseTiming(device)
    first, *later = sinks
    said = f"Connection established.\x1b[K\nConnected to device {first} (index: 0, suspended: no).\n"
    said += "".join(
        f"Time: 1.366 sec; Latency: 161690 usec.        \rStream moved to device {name} (1, not suspended).\x1b[K\n"
        for name in later
    )
    for piece in (said[:37], said[37:90], said[90:]):
        assert timing.hear(piece.encode()) == b""
    assert device.astray == astray
