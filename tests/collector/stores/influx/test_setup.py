from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.peers.influx import ORGANISATION, TOKEN, InfluxServer, influx_server
from village_collector.ports import StoreUnavailable
from village_collector.stores.influx import InfluxAddress, InfluxStore
from village_collector.stores.influx.inspection import inspect
from village_collector.stores.influx.plan import Admin, SetupFailed, Step, Wish
from village_collector.stores.influx.setup import Setup
from village_collector.times import to_ns
from village_wire.points import encode_point

_PASSWORD = "password-of-the-first-user"
_NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influx")) as started:
        yield started


async def _run(wish: Wish, admin: Admin | None = None, *, dry: bool = False) -> list[Step]:
    steps: list[Step] = []
    await Setup(wish, admin or Admin(TOKEN), dry=dry, tell=steps.append).run()
    return steps


def _wish(server: InfluxServer, folder: Path, bucket: str, **more: Any) -> Wish:
    return Wish(server.url, ORGANISATION, bucket, folder, **more)


def _address(wish: Wish, file: str = "influx-token") -> InfluxAddress:
    token = (wish.folder / file).read_text().strip()
    return InfluxAddress(wish.url, wish.organisation, wish.bucket, token, wish.downsampled_bucket)


def _line(ago: timedelta, value: float = 1.0) -> bytes:
    return encode_point("sensor", "a", "d", {"value": value}, to_ns(_NOW - ago))


async def _cli(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "village_collector.cli", "influx", "setup", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_new_server_by_the_command_line_and_once_more(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    (tmp_path / "password").write_text(_PASSWORD + "\n")
    with influx_server(tmp_path, onboard=False) as server:
        common = ("--url", server.url, "--folder", str(folder))
        with pytest.raises(SetupFailed, match="is new: give --username"):
            await _run(Wish(server.url, ORGANISATION, "telemetry", folder), Admin())
        first = ("--username", "admin", "--password-file", str(tmp_path / "password"))
        code, document, _ = await _cli(*common, *first, "--dry-run", "--json")
        dry = json.loads(document)
        assert (code, dry["changed"], dry["telemetry"]["bucket"], folder.exists()) == (0, False, "telemetry", False)
        assert [step["outcome"] for step in dry["steps"]] == ["made"] * 7
        code, out, said = await _cli(*common, *first)
        assert (code, said) == (0, "")
        assert [line.split()[0] for line in out.splitlines()[:7]] == ["made"] * 7
        tokens = {path.name: path.read_text().strip() for path in folder.iterdir()}
        assert set(tokens) == {"influx-admin-token", "influx-token", "influx-grafana-token"}
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert not [token for token in (*tokens.values(), _PASSWORD) if token in out]
        code, again, said = await _cli(*common)
        assert (code, said, "nothing was changed" in again) == (0, "", True)
        assert {path.name: path.read_text().strip() for path in folder.iterdir()} == tokens

        config = tmp_path / "collector.toml"
        config.write_text(out[out.index("[telemetry]") :])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "village_collector.cli", "check", "--config", str(config), "--json",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        rows = {row["part"]: row for row in json.loads((await process.communicate())[0])["rows"]}
        assert {row["status"] for row in rows.values()} == {"ok"}, rows
        assert "kept 90 days" in rows["influx bucket"]["evidence"]
        assert "kept 1825 days" in rows["influx means"]["evidence"]
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "localhost:8086"), "give the address of InfluxDB"),
        (("--url", "http://u:p@localhost"), "give the address of InfluxDB"),
        (("--url", "http://localhost", "--retention", "90"), "give a time as 36h"),
        (("--url", "http://127.0.0.1:1"), "does not answer"),
        (("--url", "http://localhost", "--admin-token-file", "/nowhere"), "/nowhere"),
    ],
)
async def test_wrong_use_is_named(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, out, err = await _cli(*arguments, "--folder", str(tmp_path))
    assert (code != 0, said in err, "Traceback" in err, out) == (True, True, False, ""), err


async def test_tokens_have_the_least_rights(server: InfluxServer, tmp_path: Path) -> None:
    wish = _wish(server, tmp_path, "rights")
    await _run(wish)
    server.make_bucket("foreign", 0)
    store = InfluxStore(_address(wish))
    await store.open()
    assert list(await store.write(_line(timedelta(seconds=1)))) == []
    assert len(await store.history("a", "d", "sensor", "value", _NOW - timedelta(1), _NOW, 10)) == 1
    await store.close()
    for file, bucket, what in [
        ("influx-token", wish.downsampled_bucket, "write"),
        ("influx-token", "foreign", "write"),
        ("influx-token", "foreign", "read"),
        ("influx-grafana-token", wish.bucket, "write"),
        ("influx-grafana-token", "foreign", "read"),
    ]:
        address = _address(wish, file)
        store = InfluxStore(InfluxAddress(address.url, address.organisation, bucket, address.token))
        with pytest.raises(StoreUnavailable, match=r"40[134]") as refused:
            await store.open()
            if what == "write":
                await store.write(_line(timedelta(seconds=1)))
            else:
                await store.fields("a", "d")
        assert refused.value.code in {"store_unauthorised", "store_missing"}
        await store.close()
    grafana = InfluxStore(_address(wish, "influx-grafana-token"))
    await grafana.open()
    assert len(await grafana.fields("a", "d")) == 1
    await grafana.close()


async def test_a_second_machine_gets_the_same_tokens_and_lost_ones_come_back(
    server: InfluxServer, tmp_path: Path
) -> None:
    one, two = (_wish(server, tmp_path / name, "shared") for name in ("one", "two"))
    await _run(one)
    assert [step.outcome for step in await _run(two)] == ["kept"] * 4 + ["made"] * 2
    assert (one.folder / "influx-token").read_text() == (two.folder / "influx-token").read_text()
    (one.folder / "influx-token").write_text("revoked")
    (two.folder / "influx-token").chmod(0o644)
    assert [step.part for step in await _run(one) if step.outcome == "changed"] == ["collector token"]
    await _run(two)
    assert (one.folder / "influx-token").read_text() == (two.folder / "influx-token").read_text()
    assert (two.folder / "influx-token").stat().st_mode & 0o777 == 0o600


async def test_a_deleted_bucket_and_a_switched_off_task_are_made_again(server: InfluxServer, tmp_path: Path) -> None:
    wish = _wish(server, tmp_path, "mended")
    await _run(wish)
    old = (wish.folder / "influx-token").read_text()
    server.delete_bucket("mended")
    task = server.ask("GET", "/api/v2/tasks?name=village%20mended-5m")["tasks"][0]
    server.ask("PATCH", f"/api/v2/tasks/{task['id']}", {"status": "inactive"})
    found = {finding.part: finding for finding in await inspect(_address(wish))}
    assert {part: finding.status for part, finding in found.items()} == {
        "influx server": "ok", "influx bucket": "down", "influx token": "down", "influx means": "degraded",
    }  # fmt: skip
    assert "switched off" in found["influx means"].evidence
    outcomes = {step.part: step.outcome for step in await _run(wish)}
    assert outcomes["task"] == outcomes["collector token"] == "changed"
    assert (wish.folder / "influx-token").read_text() != old
    assert {finding.status for finding in await inspect(_address(wish))} == {"ok"}
    assert {step.outcome for step in await _run(wish)} == {"kept"}


async def test_retention_grows_freely_and_shrinks_only_when_meant(server: InfluxServer, tmp_path: Path) -> None:
    def kept(days: int, **more: bool) -> Wish:
        return _wish(server, tmp_path, "kept", retention=timedelta(days=days), **more)

    await _run(kept(30))
    assert "kept 60 days instead of kept 30 days" in str(await _run(kept(60)))
    with pytest.raises(SetupFailed, match="--delete-older"):
        await _run(kept(7))
    assert {step.outcome for step in await _run(_wish(server, tmp_path, "kept"))} == {"kept"}
    assert "kept 7 days" in str(await _run(kept(7, delete_older=True)))


async def test_a_dry_run_of_a_server_in_use_changes_nothing(server: InfluxServer, tmp_path: Path) -> None:
    steps = await _run(_wish(server, tmp_path / "x", "dry"), dry=True)
    assert [step.outcome for step in steps] == ["kept"] + ["made"] * 5
    assert not (tmp_path / "x").exists()
    assert not [b for b in server.ask("GET", "/api/v2/buckets?limit=100")["buckets"] if b["name"].startswith("dry")]


async def test_says_what_is_not_right(server: InfluxServer, tmp_path: Path) -> None:
    server.make_bucket("bare", 0)
    everything = InfluxAddress(server.url, ORGANISATION, "bare", TOKEN)
    found = {finding.part: finding for finding in await inspect(everything)}
    assert [finding.status for finding in found.values()] == ["ok", "degraded", "degraded", "degraded"]
    assert "for ever" in found["influx bucket"].evidence
    assert "far more" in found["influx token"].evidence
    assert "not set" in found["influx means"].evidence
    wish = _wish(server, tmp_path, "narrow")
    await _run(wish)
    found = {finding.part: finding for finding in await inspect(_address(wish, "influx-grafana-token"))}
    assert found["influx token"].status == "down"
    with pytest.raises(SetupFailed, match="operator"):
        await _run(_wish(server, tmp_path, "absent"), Admin((tmp_path / "influx-token").read_text().strip()))
    with pytest.raises(SetupFailed, match="--admin-token-file"):
        await _run(wish, Admin())


def test_secrets_show_nowhere() -> None:
    assert "secret" not in repr(Admin("secret-token", "admin", "secret-word"))
