"""Command line of the demo."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from village_demo.programs import Program
from village_demo.round import Round
from village_demo.site import Village

#: A killed agent or collector stays away this long, so that the health table can be seen telling it.
_AWAY_SECONDS = 20.0


def main() -> int:
    """Run the demo; the exit code is 0 when all went well."""
    parser = argparse.ArgumentParser(
        prog="deploy/demo",
        description="A whole village on this machine: a collector, two agents and emulated hardware on real lines. "
        "在本机运行一个完整的村庄：采集端、两个代理和接在真实线路上的模拟硬件。",
        epilog="Examples: deploy/demo    deploy/demo --once --out /tmp/village",
    )
    parser.add_argument("--once", action="store_true", help="go through one round and stop 运行一轮后退出")
    parser.add_argument("--out", type=Path, help="folder for the evidence of the round 保存结果的文件夹")
    options = parser.parse_args()
    if options.once != (options.out is not None):
        parser.error("--once and --out DIR go together")
    try:
        return asyncio.run(_demo(options.out))
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, TimeoutError) as error:
        print(f"deploy/demo: {error or 'the collector did not answer in time'}", file=sys.stderr)
        return 1


async def _demo(out: Path | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if out is not None:
        await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    keep = os.environ.get("VILLAGE_DEMO_DIR")
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory(prefix="village-demo-") as folder:
        village = Village(Path(folder).resolve())
        async with village.site_broker():
            try:
                _say(f"starting the village in {folder} …")
                main_task = asyncio.create_task(_once(village, out) if out is not None else _live(village), name="demo")
                stopping = asyncio.create_task(stop.wait(), name="stop")
                await asyncio.wait({main_task, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if not main_task.done():
                    main_task.cancel()
                    await asyncio.gather(main_task, return_exceptions=True)
                    return 130 if out is not None else 0
                return main_task.result()
            finally:
                await village.stop()


async def _once(village: Village, out: Path) -> int:
    await village.start()
    _say(f"the collector answers on {village.url}")
    passed = await Round(village, out, _say).run()
    _say(f"{'all of it happened' if passed else 'not all of it happened'}; see {out / 'summary.json'}")
    return 0 if passed else 1


async def _live(village: Village) -> int:
    await village.start()
    pids = ", ".join(f"{p.name} {p.pid}" for p in (village.collector, *village.agents.values()))
    _say(f"In another terminal:  export {' '.join(f'{name}={value}' for name, value in village.environment.items())}")
    _say('  .venv/bin/village broadcast say "请注意 Attention" --to 330110101000')
    _say("  .venv/bin/village door unlock lin/gate        .venv/bin/village events --follow")
    _say(f"Kill one and watch (it comes back after {_AWAY_SECONDS:.0f} s):  kill -9 PID   of  {pids}")
    async with asyncio.TaskGroup() as group:
        for program in (village.collector, *village.agents.values()):
            group.create_task(_revive(program), name=f"revive {program.name}")
        table = group.create_task(_table(village), name="health table")
        await table
    return 0


async def _table(village: Village) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "village_cli.main", "health", "--watch", env={**os.environ, **village.environment}
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _revive(program: Program) -> None:
    while True:
        await asyncio.sleep(0.5)
        if not program.running:
            await asyncio.sleep(_AWAY_SECONDS)
            await program.stop()
            await program.start()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
