"""An event loop in which hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Selector(selectors.DefaultSelector):
    """Instead of waiting it lets the time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everything waits for something that never comes"
            self.now += max(0.0, timeout)
        return events


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is counted by a `_Selector`."""

    def __init__(self) -> None:
        self._counter = _Selector()
        super().__init__(self._counter)

    def time(self) -> float:
        # Rounded up, so that a timer is due when its time has come.
        return self._counter.now + 1e-9


def in_fake_time(work: Coroutine[Any, Any, _T]) -> _T:
    """Run something that waits for nothing but timers."""
    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        return runner.run(work)
