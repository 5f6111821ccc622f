"""The notification protocol of systemd (sd_notify(3)): ready, alive, stopping. Without systemd every call does nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends datagrams to the service manager; a lost one is not an error, since the watchdog sends again."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is that of the process unless given."""
        self._environment = os.environ if environment is None else environment
        path = self._environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def watchdog_seconds(self) -> float | None:
        """How often `alive` must be called at least, or None when nobody watches this process."""
        try:
            microseconds = int(self._environment.get("WATCHDOG_USEC", "0"))
            watched = int(self._environment.get("WATCHDOG_PID", str(os.getpid())))
        except ValueError:
            return None
        return microseconds / 1e6 if microseconds > 0 and watched == os.getpid() else None

    def ready(self, status: str) -> None:
        """The program serves; `status` is the line that `systemctl status` shows."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def alive(self, status: str) -> None:
        """Feed the watchdog."""
        self._send(f"WATCHDOG=1\nSTATUS={_one_line(status)}")

    def stopping(self) -> None:
        """The program has begun to stop."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Release the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            # A manager that is gone or busy must not stop the program.
            return


def _one_line(text: str) -> str:
    return text.replace("\n", " ")[:500]
