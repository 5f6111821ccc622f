"""What the operating system says of time: the clock since boot, the boot's id, and its date if it vouches for that."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from uuid import uuid4

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Made by systemd-timesyncd once it has set the clock.
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
#: adjtimex(2): TIME_ERROR, the clock is not synchronised.
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    # More room than the structure of any system takes; `modes` 0 reads only.
    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 1020))


def boot_ns() -> int:
    """Return nanoseconds since the boot, time asleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the id of this boot; where the system has none, one that is new each time."""
    try:
        with _BOOT_ID.open("rb", buffering=0) as file:
            return file.read(100).decode("ascii", "replace").strip()
    except OSError:
        return uuid4().hex


def synchronised_ns() -> int | None:
    """Return the system's date in nanoseconds since 1970 if it was synchronised, else None.

    The kernel knows, whatever program keeps the clock, and forgets it when somebody sets the clock by hand. Where a sandbox forbids
    asking it (systemd's ProtectClock does), timesyncd's mark counts.
    """
    status = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex()))
    known = _TIMESYNCD.exists() if status < 0 else status != _TIME_ERROR
    return time.time_ns() if known else None
