"""The use of a device by one caller, which others can end early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from village_drivers.kit import DriverError


class Turn:
    """One use of a device. `end` acts on what runs inside of `held`."""

    def __init__(self) -> None:
        #: What `end` was given first.
        self.error: DriverError | None = None
        self._scope = asyncio.timeout(None)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Raises the first error that `end` was given, once what runs inside has been cancelled."""
        try:
            async with self._scope:
                yield
        except TimeoutError:
            if self.error is not None:
                raise self.error from None
            raise

    def end(self, error: DriverError) -> None:
        """Let whoever holds it raise `error`."""
        if self.error is None:
            self.error = error
            self._scope.reschedule(asyncio.get_running_loop().time())
