"""Both rows of ingest for real, with few messages: every line arrives, and every message is acknowledged."""

from __future__ import annotations

import pytest

from tests.bench import ingest
from tests.peers import peer


@pytest.fixture(autouse=True)
def _few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mosquitto", "telegraf"):
        peer(name)
    monkeypatch.setattr(ingest, "QUICK", {10: 500})


@pytest.mark.timeout(60)
def test_into_the_sink() -> None:
    said: list[str] = []
    figures = ingest.into_sink(True, said.append)["10"]
    assert figures["ratio_cpu_to_telegraf"] > 0
    assert figures["telegraf"]["cpu_s_per_million"] > 0
    assert figures["rss_mb"] > 10
    assert len(said) == 2


@pytest.mark.timeout(60)
def test_into_influxdb() -> None:
    peer("influxd")
    figures = ingest.into_influx(True, lambda _: None)["10"]
    assert figures["influxd_cpu_s_per_million"] > 0
