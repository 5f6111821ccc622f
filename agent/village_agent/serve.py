"""The process that `village-agent run` becomes: logging, signals, and an end that always comes.

    python -m village_agent.serve CONFIG LOG_LEVEL

Exit codes: 0 stopped, 1 failed, 3 the configuration is wrong, 4 another agent uses the state directory.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import signal
import sys
from pathlib import Path

from village_agent.memory import put_off

put_off()

from village_agent.app import GRACE_SECONDS, Agent  # noqa: E402 - after what is put off
from village_agent.config import Settings, load  # noqa: E402
from village_agent.roster import Roster  # noqa: E402
from village_agent.state_lock import AlreadyRunning, state_lock  # noqa: E402
from village_wire import core_dumps  # noqa: E402
from village_wire.settings import InvalidSettings  # noqa: E402
from village_wire.systemd import Notifier  # noqa: E402

_log = logging.getLogger("village_agent.serve")

EXIT_CONFIGURATION = 3
EXIT_RUNNING = 4

#: A driver that swallows its cancellation, or a name server that doesn't answer, must not keep the process alive.
END_SECONDS = GRACE_SECONDS + 7.0


class _OneLine(logging.Formatter):
    """One line per record, tracebacks included, as journald stores them."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def configure_logging(level: str) -> None:
    """Log to stderr with local time and offset."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("village_wire.connection.mqtt").setLevel(logging.WARNING)


def main(config: Path, log_level: str) -> int:
    """Serve until SIGTERM or SIGINT; a second signal ends at once. Return the exit code."""
    core_dumps.forbid()
    configure_logging(log_level)
    try:
        settings = load(config)
        roster = Roster.build(settings)
    except InvalidSettings as error:
        _say(f"{error}\nThe configuration is wrong; nothing was started. 配置有误，未启动。")
        return EXIT_CONFIGURATION
    try:
        with state_lock(settings.state_dir):
            # What exists now lives as long as the process: the collector of garbage need not look at it again.
            gc.collect()
            gc.freeze()
            asyncio.run(_serve(settings, roster))
    except AlreadyRunning as error:
        _say(f"{error}; stop it first, or give this one its own state_dir. 已有代理使用该目录。")
        return EXIT_RUNNING
    except OSError as error:
        _say(f"state directory {settings.state_dir}: {error.strerror}")
        return EXIT_CONFIGURATION
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the answer to whoever started us, not a log record


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


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
