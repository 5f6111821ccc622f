"""No image of a program that holds keys and tokens may reach the disk."""

from __future__ import annotations

import contextlib
import resource

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Switch off core dumps of this process, and let no other user's program look into its memory. Children start as usual.

    The limit alone does not hold where the system hands cores to a program (a `core_pattern` that begins with `|`).
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # On a system that forbids ctypes its memory the limit has to do.
    with contextlib.suppress(ImportError, OSError, AttributeError, MemoryError):
        # Not at the top: whoever only asks for --help pays nothing.
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
