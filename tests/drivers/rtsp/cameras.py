"""A quick configuration of the driver, and how a run of it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.drivers.recorder import NoServices, Recorder
from village_drivers.kit import DriverError
from village_drivers.rtsp.driver import RtspCamera, RtspConfig

PASSWORD = "p@ss:/'\"%# 密码"


def make_driver(url: str, **settings: object) -> RtspCamera:
    quick = {
        "interval_seconds": 0.1,
        "probe_seconds": 1,
        "packet_seconds": 1,
        "key_frame_seconds": 2,
        "connect_seconds": 8,
    }
    login = {"username": "village", "password": PASSWORD}
    config = {"id": "cam", "driver": "rtsp", "url": url, **quick, **login, **settings}
    return RtspCamera(RtspConfig.model_validate(config), NoServices())


async def ends_with(driver: RtspCamera, report: Recorder) -> DriverError:
    with pytest.raises(DriverError) as caught:
        async with asyncio.timeout(20):
            await driver.run(report)
    assert "p%40ss" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value
