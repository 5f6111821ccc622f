"""What a process takes is measured finely enough for short runs."""

from __future__ import annotations

import os
import time

import pytest

from tests.bench.rig import Usage


def test_cpu_is_counted_finer_than_in_ticks_of_ten_milliseconds() -> None:
    usage, begun = Usage(os.getpid()), time.process_time()
    while time.process_time() - begun < 0.002:
        pass
    assert usage.lap() == pytest.approx(0.002, abs=0.001)
    assert usage.lap() < 0.001
