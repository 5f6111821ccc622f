"""What a connection costs on a metered line: its bytes with the headers of IP, TCP and TLS, estimated. No clock: times come in as arguments."""

from __future__ import annotations

#: IPv4 20 bytes, TCP 20, its time stamps 12: what Linux sends.
HEADER_BYTES = 52
#: Bytes of one full segment on a link of 1,500 or a little less.
SEGMENT_BYTES = 1400
#: TLS 1.3 adds to each write: record header 5, content type 1, AES-GCM's tag 16.
TLS_BYTES = 22
#: Linux acknowledges after 40 ms at the latest; data that goes back sooner carries the acknowledgement.
DELAYED_ACK_SECONDS = 0.04


class Traffic:
    """Counts what was written and read at one end, in bytes as an operator of mobile networks counts them."""

    def __init__(self, *, secure: bool = False) -> None:
        self._more = TLS_BYTES if secure else 0
        self._unanswered: dict[bool, float] = {}
        self.sent = 0
        self.received = 0

    @property
    def total(self) -> int:
        """Bytes in both directions."""
        return self.sent + self.received

    def wrote(self, size: int, now: float) -> None:
        """So many bytes were written at once."""
        self.sent += self._bytes(size)
        self._acknowledge(now, sent=True)

    def read(self, size: int, now: float) -> None:
        """So many bytes were read at once."""
        self.received += self._bytes(size)
        self._acknowledge(now, sent=False)

    def _bytes(self, size: int) -> int:
        return size + self._more + -(-size // SEGMENT_BYTES) * HEADER_BYTES

    def _acknowledge(self, now: float, *, sent: bool) -> None:
        # What was not answered in time had an acknowledgement of its own, which travels against it.
        for way in (True, False):
            asked = self._unanswered.get(way)
            if asked is None or now - asked < DELAYED_ACK_SECONDS:
                continue
            del self._unanswered[way]
            if way:
                self.received += HEADER_BYTES
            else:
                self.sent += HEADER_BYTES
        self._unanswered.pop(not sent, None)
        self._unanswered[sent] = now
