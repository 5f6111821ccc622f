"""Carries out one command on one device."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from village_agent.commands.upload import MAX_PICTURE_BYTES, UploadFailed, upload_jpeg
from village_agent.loudspeaker.stations import Outcome, Stations
from village_agent.report import Hub
from village_drivers.abilities import Camera, Door, Indicator, Loudspeaker, Switch
from village_drivers.kit import Device, DriverError, Refused
from village_wire.commands import Broadcast, Command, Indicate, Snapshot, Stop, SwitchTo, Unlock, Withdraw
from village_wire.events import CommandResult, DoorUnlocked

_log = logging.getLogger(__name__)

#: A device that takes longer to confirm does not answer.
ANSWER_SECONDS = 15.0
#: A camera may have to wait for its next key frame.
SNAPSHOT_SECONDS = 20.0
#: Each holds a picture of up to 4 MiB in memory.
MAX_SNAPSHOTS = 2

Result = tuple[str, str, dict[str, Any]]


class Executor:
    """Runs commands on devices: those of one kind on one device one after the other, all others side by side."""

    def __init__(
        self,
        hub: Hub,
        now: Callable[[], datetime],
        loudspeakers: Stations,
        ca_file: Path | None,
        check_time: Callable[[], bool] = lambda: True,
    ) -> None:
        """`ca_file` and `check_time` are for uploads, see `upload_jpeg`."""
        self._hub = hub
        self._now = now
        self._loudspeakers = loudspeakers
        self._ca_file = ca_file
        self._check_time = check_time
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._snapshots = asyncio.Semaphore(MAX_SNAPSHOTS)

    async def execute(self, command: Command, name: str, device: Device) -> CommandResult:
        """Return the final result; raises nothing but cancellation."""
        try:
            outcome, reason, result = await self._dispatch(command, name, device.handle)
        except Refused as error:
            outcome, reason, result = "refused", str(error), {"code": error.code}
        except DriverError as error:
            outcome, reason, result = "failed", str(error), {"code": error.code}
        except UploadFailed as error:
            outcome, reason, result = "failed", str(error), {}
        except TimeoutError:
            outcome, reason, result = "failed", "the device did not answer in time", {"code": "no_answer"}
        # The outermost edge of a command: it must end with a result.
        except Exception as error:  # noqa: BLE001
            _log.exception("command %s failed on %s", command.id, name)
            outcome, reason, result = (
                "failed",
                f"fault of the program: {type(error).__name__}",
                {"code": "driver_failed"},
            )
        return CommandResult(command=command.id, outcome=cast("Any", outcome), reason=reason[:1000], result=result)

    async def _dispatch(self, command: Command, name: str, handle: object) -> Result:
        arguments = command.arguments
        if isinstance(arguments, Broadcast):
            return _told(await self._loudspeakers.queue(command.id, arguments, name))
        if isinstance(arguments, Withdraw):
            return _told(await self._loudspeakers.withdraw(arguments.broadcast, name, arguments.reason))
        if isinstance(arguments, Stop):
            dropped = await self._loudspeakers.drop_all(name, f"stopped by {command.issuer}")
            async with asyncio.timeout(ANSWER_SECONDS):
                await cast("Loudspeaker", handle).stop()
            return "done", "", {"dropped": dropped} if dropped else {}
        async with self._locks[arguments.kind, name]:
            if self._now() >= command.expires:
                return "refused", "expired", {}
            if isinstance(arguments, Snapshot):
                async with self._snapshots:
                    return await self._snapshot(arguments, cast("Camera", handle))
            async with asyncio.timeout(ANSWER_SECONDS):
                if isinstance(arguments, Unlock):
                    await cast("Door", handle).unlock(arguments.seconds)
                    self._hub.post(name, DoorUnlocked(seconds=arguments.seconds, by="command", command=command.id))
                elif isinstance(arguments, SwitchTo):
                    await cast("Switch", handle).switch(arguments.on)
                elif isinstance(arguments, Indicate):
                    await cast("Indicator", handle).indicate(arguments.colour, arguments.buzzer, arguments.seconds)
        return "done", "", {}

    async def _snapshot(self, snapshot: Snapshot, camera: Camera) -> Result:
        async with asyncio.timeout(SNAPSHOT_SECONDS):
            picture = await camera.snapshot()
        if len(picture) > MAX_PICTURE_BYTES:
            return "failed", f"the picture of {len(picture)} bytes is over the limit of {MAX_PICTURE_BYTES}", {}
        await asyncio.to_thread(
            upload_jpeg, snapshot.upload_url, snapshot.upload_token, picture, self._ca_file, self._check_time
        )
        return "done", "", {"bytes": len(picture)}


def _told(outcome: Outcome) -> Result:
    return "done" if outcome.done else "refused", outcome.reason, {}
