"""Every query of the dashboard is run on a real InfluxDB, with Grafana's own token, over readings that our store wrote."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.peers.influx import TOKEN, influx_server
from village_collector.stores.influx import InfluxAddress, InfluxStore
from village_collector.stores.influx.plan import Admin, Wish
from village_collector.stores.influx.rest import Rest
from village_collector.stores.influx.setup import Setup
from village_collector.times import to_ns
from village_wire.points import KINDS, Value, encode_point

_GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
_DASHBOARD = json.loads((_GRAFANA / "village.json").read_text())
_ORGANISATION, _BUCKET = "village", "telemetry"
_VALUES: dict[type, Value] = {float: 1.5, int: 3, bool: False}
_HOURS = 4


def _panels() -> dict[str, str]:
    return {
        panel["title"]: target["query"]
        for panel in _DASHBOARD["panels"]
        if panel["type"] != "row"
        for target in panel["targets"]
    }


def _lines(now: datetime) -> Iterator[bytes]:
    for agent in ("a1", "b2", "c3"):
        for kind, fields in KINDS.items():
            for minutes in range(0, _HOURS * 60, 10):
                values = {name: _VALUES[wanted] for name, wanted in fields.items()}
                if kind == "agent":
                    values["lost"] = 100 - minutes // 60
                yield encode_point(kind, agent, f"{kind}-1", values, to_ns(now - timedelta(minutes=minutes + 1)))


class _Grafana:
    """Asks as Grafana does: the macros and variables of the data source are put into the text."""

    def __init__(self, url: str, token: str) -> None:
        self._rest = Rest(url, token, _ORGANISATION)

    async def close(self) -> None:
        await self._rest.close()

    async def ask(
        self, query: str, *, bucket: str = _BUCKET, agents: str = ".*", hours: int = _HOURS
    ) -> list[dict[str, Any]]:
        for name, value in {
            "v.defaultBucket": f'"{bucket}"',
            "v.timeRangeStart": f"-{hours}h",
            "v.timeRangeStop": "now()",
            "v.windowPeriod": "300000ms",
            "${agent:regex}": agents,
        }.items():
            query = query.replace(name, value)
        assert not re.findall(r"\bv\.|\$\{|\[\[", query), query
        return await self._rest.query(query)


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with influx_server(tmp_path_factory.mktemp("influx")) as server:
        yield server.url


@pytest_asyncio.fixture
async def grafana(server_url: str, tmp_path: Path) -> AsyncIterator[_Grafana]:
    wish = Wish(server_url, _ORGANISATION, _BUCKET, tmp_path)
    store = InfluxStore(InfluxAddress(server_url, _ORGANISATION, _BUCKET, TOKEN))
    rest = Rest(server_url, TOKEN, _ORGANISATION)
    if not (await rest.ask("GET", "/api/v2/buckets", (("name", _BUCKET),)))["buckets"]:
        organisation = (await rest.ask("GET", "/api/v2/orgs"))["orgs"][0]["id"]
        await rest.ask("POST", "/api/v2/buckets", body={"orgID": organisation, "name": _BUCKET, "retentionRules": []})
        await store.open()
        assert list(await store.write(b"\n".join(_lines(datetime.now(UTC))))) == []
    await rest.close()
    await store.close()
    await Setup(wish, Admin(TOKEN), dry=False, tell=lambda _: None).run()
    made = _Grafana(server_url, (tmp_path / "influx-grafana-token").read_text().strip())
    yield made
    await made.close()


async def test_every_panel_shows_something(grafana: _Grafana) -> None:
    queries = _panels()
    assert len(queries) > 10
    for title, query in queries.items():
        assert await grafana.ask(query), title
        chosen = await grafana.ask(query, agents="(a1|b2)")
        assert {row["agent"] for row in chosen if "agent" in row} <= {"a1", "b2"}, title
        if "-15m" not in query:
            assert await grafana.ask(query, bucket=f"{_BUCKET}-5m"), title


async def test_the_overview_counts_right(grafana: _Grafana) -> None:
    found = {title: await grafana.ask(query) for title, query in _panels().items() if "group()\n" in query + "\n"}
    single = {title.split(" in ")[0]: rows[0]["_value"] for title, rows in found.items() if len(rows) == 1}
    assert single["Agents heard of"] == 3
    assert single["Readers offline 离线读卡器"] == 3
    assert single["Boxes with low voltage 欠压设备"] == 0
    assert single["Readings lost"] == 3 * (_HOURS - 1)
    (query,) = (query for title, query in _panels().items() if title.startswith("Agents 代理"))
    table = {row["agent"]: (row["lost"], row["outbox_hours"]) for row in await grafana.ask(query)}
    assert table == dict.fromkeys(("a1", "b2", "c3"), (100.0, 1.5))


async def test_the_list_of_agents(grafana: _Grafana) -> None:
    (variable,) = (entry for entry in _DASHBOARD["templating"]["list"] if entry["type"] == "query")
    assert [row["_value"] for row in await grafana.ask(variable["query"])] == ["a1", "b2", "c3"]


def test_the_files_fit_together() -> None:
    sources = yaml.safe_load((_GRAFANA / "provisioning" / "datasources" / "village.yaml").read_text())["datasources"]
    assert {entry["jsonData"]["defaultBucket"] for entry in sources} == {_BUCKET, f"{_BUCKET}-5m"}
    assert {entry["secureJsonData"]["token"] for entry in sources} == {"$VILLAGE_INFLUX_TOKEN"}
    (variable,) = (entry for entry in _DASHBOARD["templating"]["list"] if entry["type"] == "datasource")
    pattern = re.compile(variable["regex"].strip("/"))
    assert all(pattern.search(entry["name"]) for entry in sources)
    assert variable["current"]["value"] in {entry["uid"] for entry in sources}
    text = (_GRAFANA / "village.json").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == {"source", "agent", "__field"}
    (provider,) = yaml.safe_load((_GRAFANA / "provisioning" / "dashboards" / "village.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    numbers = [panel["id"] for panel in _DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
