"""Files that hold passwords, tokens and private keys: who else may open them."""

from __future__ import annotations

from pathlib import Path

#: Debian gives keys to a service by a group, so only the rights of everybody else count.
_OTHERS = 0o007


def others_may_open(path: Path) -> bool:
    """Tell whether users beside the file's owner and group may read or write it; no if it can't be looked at."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
