"""Keeps the process that runs for months small."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: madvise(2).
_MADV_DONTNEED = 4
_MAPS = Path("/proc/self/maps")
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Memory that this process holds, 0 where the system doesn't tell (proc(5), statm)."""
    try:
        with _STATM.open("rb", buffering=0) as file:
            return int(file.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def release_memory() -> None:
    """Give freed memory back to the system: imports and bursts leave some 5 MB behind. Does nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def release_code() -> None:
    """Let go of the pages of libraries' code: ten megabytes served the start only. What is used again comes from the page cache.

    Mappings that can be executed and are not writable hold nothing but what is in their file.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        with _MAPS.open("rb", buffering=0) as file:
            content = b"".join(iter(lambda: file.read(65536), b""))
    except OSError:
        return
    for line in content.decode(errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[1] == "r-xp" and fields[5].startswith("/"):
            begin, end = (int(number, 16) for number in fields[0].split("-"))
            madvise(begin, end - begin, _MADV_DONTNEED)


def put_off() -> None:
    """Put off loading what libraries import and the agent hardly uses (2 MB) until it is used. Call it before any other import.

    pydantic imports `importlib.metadata` to look for plugins, of which the agent has none; paho-mqtt imports `urllib.request` for
    proxies of connections over WebSocket. Both bring the whole of `email` along.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name in ("importlib.metadata", "urllib.request"):
        if name not in sys.modules:
            parent, _, child = name.rpartition(".")
            sys.modules[name] = module = _Later(name)
            setattr(importlib.import_module(parent), child, module)


class _Later(types.ModuleType):
    """Stands for a module until one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__ == "importlib.metadata" and name in {"entry_points", "version"}:
            # Imported by name where it is seldom called.
            return _function(self.__name__, name)
        return getattr(_load(self.__name__), name)


def _function(module: str, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(_load(module), name)(*arguments, **options)

    return call


def _load(name: str) -> types.ModuleType:
    if isinstance(sys.modules.get(name), _Later):
        del sys.modules[name]
    return importlib.import_module(name)
