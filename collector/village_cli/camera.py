"""`village camera`: a picture taken now, as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from village_cli.failures import answering
from village_cli.options import DeviceArgument, connect, examples, settings_of
from village_cli.saving import refuse_existing, save
from village_cli.tables import say
from village_cli.target import parse_device
from village_cli.text import word

EXAMPLES = examples(
    "village camera snapshot gate-1/camera -o gate.jpg", "village camera snapshot gate-1/camera -o - | display -"
)


@answering
def camera_snapshot(
    ctx: typer.Context,
    device: DeviceArgument,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout. 输出文件。")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file. 覆盖已有文件。")] = False,
) -> None:
    """Take a picture now and save it (readable by you only).

    立即抓拍并保存（仅本人可读）。
    """
    target = parse_device(device)
    path = Path(output)
    if output != "-":
        refuse_existing(path, force=force)
    with connect(ctx) as client:
        picture = client.picture(f"/cameras/{target.agent}/{target.device}/snapshot")
    if output == "-":
        sys.stdout.buffer.write(picture)
        return
    save(path, picture, force=force)
    say(word("saved", settings_of(ctx).language).format(bytes=len(picture), file=path))
