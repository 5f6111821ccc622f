from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.peers import free_port
from tests.peers.fault_proxy import fault_proxy
from tests.peers.influx import BUCKET, ORGANISATION, TOKEN, influx_server
from village_collector.ports import StoreUnavailable
from village_collector.stores.influx import InfluxAddress, InfluxStore
from village_collector.stores.influx.rest import Rest
from village_collector.times import to_ns
from village_wire.points import encode_point

_NOW = datetime.now(UTC)


def _line(seconds_ago: float) -> bytes:
    return encode_point("sensor", "a", "d", {"value": 1.0}, to_ns(_NOW - timedelta(seconds=seconds_ago)))


async def test_the_token_shows_nowhere() -> None:
    address = InfluxAddress("http://127.0.0.1:1", "o", "b", "secret-token")
    assert "secret-token" not in repr(address)
    store = InfluxStore(address)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 does not answer") as refused:
        await store.open()
    assert "secret-token" not in str(refused.value)
    await store.close()


async def test_wrong_access_is_named(tmp_path: Path) -> None:
    with influx_server(tmp_path) as server:
        for address, said in [
            (InfluxAddress(server.url, ORGANISATION, BUCKET, "wrong"), "check the token in telemetry.token_file"),
            (InfluxAddress(server.url, ORGANISATION, "absent", TOKEN), "create bucket 'absent'"),
            (InfluxAddress(server.url, "absent", BUCKET, TOKEN), "in organisation 'absent'"),
        ]:
            store = InfluxStore(address)
            with pytest.raises(StoreUnavailable, match=said):
                await store.open()
            with pytest.raises(StoreUnavailable, match=said):
                await store.write(_line(1))
            with pytest.raises(StoreUnavailable, match=r"answers 40[014]"):
                await store.fields("a", "d")
            await store.close()


async def test_points_older_than_the_bucket_keeps_are_told_at_once(tmp_path: Path) -> None:
    with influx_server(tmp_path) as server:
        server.make_bucket("short", 3600)
        store = InfluxStore(InfluxAddress(server.url, ORGANISATION, "short", TOKEN))
        await store.open()
        old = [_line(10 * 86400 + n) for n in range(500)]
        answer = await store.write(b"\n".join(old))
        assert [bad.line for bad in answer] == old
        assert "retention" in answer[0].reason
        assert {bad.line for bad in await store.write(b"\n".join([*old[:20], _line(1), *old[20:40]]))} == set(old[:40])
        assert len(await store.history("a", "d", "sensor", "value", _NOW - timedelta(1), _NOW, 10)) == 1
        await store.close()


async def test_a_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    with influx_server(tmp_path, port) as server:
        store = InfluxStore(InfluxAddress(server.url, ORGANISATION, BUCKET, TOKEN))
        await store.open()
        await store.write(_line(1))
    with pytest.raises(StoreUnavailable, match="check that it runs"):
        await store.write(_line(2))
    with pytest.raises(StoreUnavailable, match="check that it runs"):
        await store.fields("a", "d")
    with influx_server(tmp_path, port):
        await store.write(_line(3))
        assert len(await store.history("a", "d", "sensor", "value", _NOW - timedelta(1), _NOW, 10)) == 2
        await store.close()


async def test_a_first_line_of_a_wrong_type_shuts_nobody_out(tmp_path: Path) -> None:
    good = [_line(1), encode_point("agent", "b", "d", {"lost": 1}, to_ns(_NOW))]
    wrong = [line.replace(b"value=1.0", b"value=1i") for line in good[:1]] + [good[1].replace(b"1i", b"1")]
    with influx_server(tmp_path) as server:
        for bucket, bad in (("unguarded", 2), ("guarded", 0)):
            server.make_bucket(bucket, 0)
            store = InfluxStore(InfluxAddress(server.url, ORGANISATION, bucket, TOKEN))
            await store.open()
            if bad:
                # What InfluxDB itself does: the first line fixes the type for everyone.
                rest = Rest(server.url, TOKEN, ORGANISATION)
                await rest.write(ORGANISATION, bucket, b"\n".join(wrong), compressed=False)
                await rest.close()
            else:
                assert [refused.line for refused in await store.write(b"\n".join(wrong))] == wrong
            refused = await store.write(b"\n".join(good))
            assert len(refused) == bad, bucket
            assert all("type conflict" in line.reason for line in refused)
            await store.close()


async def test_each_answer_has_its_code_and_the_time_to_wait(tmp_path: Path) -> None:
    with influx_server(tmp_path) as server:
        async with fault_proxy(server.url) as proxy:
            store = InfluxStore(InfluxAddress(proxy.url, ORGANISATION, BUCKET, TOKEN))
            await store.open()
            for status, headers, code, wait in [
                (401, {}, "store_unauthorised", 0.0),
                (403, {}, "store_unauthorised", 0.0),
                (404, {}, "store_missing", 0.0),
                (429, {"Retry-After": "7"}, "store_busy", 7.0),
                (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "store_busy", 0.0),
                (500, {}, "store_failed", 0.0),
                # Not InfluxDB's own words: a proxy that refuses everything must not turn readings into dead letters.
                (400, {}, "store_failed", 0.0),
                (422, {}, "store_failed", 0.0),
                (302, {}, "store_failed", 0.0),
            ]:
                proxy.answer = (status, headers)
                with pytest.raises(StoreUnavailable, match=f"answers {status}: the test says so") as refused:
                    await store.write(_line(1))
                assert (refused.value.code, refused.value.retry_after) == (code, wait)
            proxy.answer, proxy.swallow = None, True
            with pytest.raises(StoreUnavailable) as refused:
                await store.write(_line(1))
            assert refused.value.code == "store_away"
            await store.close()


async def test_a_new_token_in_its_file_is_taken_up(tmp_path: Path) -> None:
    tokens = ["wrong"]
    with influx_server(tmp_path) as server:
        store = InfluxStore(InfluxAddress(server.url, ORGANISATION, BUCKET, "wrong"), lambda: tokens[0])
        with pytest.raises(StoreUnavailable, match="a new one there is taken up by itself"):
            await store.open()
        tokens[0] = TOKEN
        await store.open()
        assert list(await store.write(_line(1))) == []
        await store.close()
