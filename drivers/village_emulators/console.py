"""Lines of standard input for emulators that a person or a test steers."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator

#: Longer than any command of an emulator.
_MAX_LINE = 1000


async def lines() -> AsyncIterator[str]:
    """Yield the lines of standard input until it ends; nothing where it is a file or `/dev/null`, as under a supervisor."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        return
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_LINE)
    # A copy, because the transport closes what it is given.
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                continue
            if not line:
                return
            yield line.decode(errors="replace").strip()
    finally:
        transport.close()
