"""Runs the agent as a process: logging, signals, and an end that always comes."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
import sys

from village_agent.app import GRACE_SECONDS, Agent, state_lock
from village_agent.config import Settings
from village_agent.roster import Roster
from village_wire.systemd import Notifier

_log = logging.getLogger(__name__)

#: A driver that swallows its cancellation, or a name server that doesn't answer, must not keep the process alive.
END_SECONDS = GRACE_SECONDS + 7.0


class _OneLine(logging.Formatter):
    """One line per record, tracebacks included, as journald stores them."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def configure_logging(level: str) -> None:
    """Log to stderr with local time and offset; raises `ValueError` for an unknown level."""
    if level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError(f"{level!r} is not one of debug, info, warning, error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("village_wire.session.mqtt").setLevel(logging.WARNING)


def serve(settings: Settings, roster: Roster) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once.

    Raises:
        AlreadyRunning: another agent uses the state directory.
        OSError: the state directory can't be made.
    """
    with state_lock(settings.state_dir):
        asyncio.run(_serve(settings, roster))
    faulthandler.cancel_dump_traceback_later()


async def _serve(settings: Settings, roster: Roster) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    notifier = Notifier()

    def on_signal() -> None:
        if stop.is_set():
            faulthandler.dump_traceback_later(0.1, exit=True)
            return
        _log.info("stopping")
        faulthandler.dump_traceback_later(END_SECONDS, exit=True)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await Agent(settings, roster).run(stop, notifier)
    finally:
        notifier.close()
