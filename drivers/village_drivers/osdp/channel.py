"""What libosdp reads from and writes to, at either end of the line."""

from __future__ import annotations


class Channel:
    """Where libosdp leaves its frame and finds the answer. Its callbacks must not raise: libosdp would carry the error elsewhere."""

    id = 1

    def __init__(self) -> None:
        self.outgoing = b""
        self.incoming = b""

    def read(self, limit: int) -> bytes:
        """Take what came in, `limit` bytes at most."""
        data, self.incoming = self.incoming[:limit], self.incoming[limit:]
        return data

    def write(self, data: bytes) -> int:
        """Leave what goes out; return how many bytes that is."""
        self.outgoing += data
        return len(data)

    def flush(self) -> None:
        """Forget what came in."""
        self.incoming = b""
