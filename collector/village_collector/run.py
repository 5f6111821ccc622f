"""The process of `village-collector run`: logging, signals and exit codes."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping

from village_collector.app import serve
from village_collector.broker import BrokerFailed
from village_collector.config import Settings
from village_collector.data_dir import AlreadyRunning, DataDirProblem, locked
from village_collector.ports import StoreUnavailable
from village_collector.server import ListenFailed
from village_wire.settings import InvalidSettings

_log = logging.getLogger(__name__)

EXIT_STOPPED, EXIT_FAILED, EXIT_CONFIGURATION, EXIT_RUNNING = 0, 1, 3, 4


class _OneLine(logging.Formatter):
    """One line per record, tracebacks included, as journald stores them."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def run(settings: Settings, log_level: str) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logging.basicConfig(level=log_level.upper(), handlers=[handler])
    logging.getLogger("village_wire.connection.mqtt").setLevel(logging.WARNING)
    # Its warnings are about what strangers send, a line for each.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    try:
        with locked(settings.collector.data_dir):
            asyncio.run(_until_signal(settings))
    except AlreadyRunning as error:
        return _fail(EXIT_RUNNING, error)
    except InvalidSettings as error:
        return _fail(EXIT_CONFIGURATION, error)
    except (BrokerFailed, ListenFailed, DataDirProblem, StoreUnavailable) as error:
        return _fail(EXIT_FAILED, error)
    except BaseExceptionGroup as errors:
        _log.critical("the collector failed", exc_info=errors)
        return EXIT_FAILED
    return EXIT_STOPPED


async def _until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop, _announce)


def _announce(addresses: Mapping[str, str]) -> None:
    for name, url in addresses.items():
        sys.stdout.write(f"{name:8}{url}\n")
    sys.stdout.flush()


def _fail(code: int, error: Exception) -> int:
    sys.stderr.write(f"{error}\n")
    return code
