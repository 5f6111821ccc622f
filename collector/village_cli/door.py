"""`village door`: let somebody in from afar."""

from __future__ import annotations

from typing import Annotated

import typer

from village_cli.failures import answering
from village_cli.options import DeviceArgument, JsonOption, examples
from village_cli.sending import carry_out
from village_cli.target import parse_device

#: A door that opens long after it was asked for opens to somebody else.
EXPIRES = "10s"

EXAMPLES = examples("village door unlock gate-1/lock", "village door unlock gate-1/lock --seconds 10")


@answering
def door_unlock(
    ctx: typer.Context,
    device: DeviceArgument,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=60, help="How long it stays released. 开锁时长（秒）。")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Release a lock for some seconds, now or not at all.

    立即开锁数秒，过期不执行。

    Exit code: 0 the device confirmed it, 2 it did not. 退出码：0 设备已确认，2 未执行。
    """
    arguments = {"kind": "unlock", "seconds": seconds}
    carry_out(ctx, parse_device(device), arguments, expires=EXPIRES, wait=True, as_json=as_json)
