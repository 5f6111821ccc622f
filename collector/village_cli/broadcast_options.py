"""What all commands that let loudspeakers be heard are told, and how a person types it."""

from __future__ import annotations

from typing import Annotated

import typer

from village_cli.broadcast_request import Category, Rank
from village_cli.options import TARGET

ToOptions = Annotated[
    list[str],
    typer.Option(
        "--to",
        metavar=TARGET,
        help="Whom it is for; may be repeated. tag:NAME alone: wherever you may. 目标，可重复；只写 tag:标签 则为有权限的全部区域。",
    ),
]
ClassOption = Annotated[Rank, typer.Option("--class", help="What it goes before. 类别（优先级）。")]
TitleOption = Annotated[str, typer.Option("--title", help="What lists call it. 标题。")]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="18:30, an ISO time, or a span from now; else at once. 开始时间。"),
]
UntilOption = Annotated[
    str,
    typer.Option(
        "--until",
        "--expires",
        metavar="TIME|SPAN",
        help="Never begin later; a span counts from its start. 最迟开始时间。",
    ),
]
TimesOption = Annotated[int, typer.Option("--times", min=1, max=100, help="How often. 播放次数。")]
PauseOption = Annotated[str, typer.Option("--pause", metavar="SPAN", help="Between two times. 间隔。")]
VolumeOption = Annotated[
    float | None, typer.Option("--volume", min=0, max=100, help="Percent; else each device's own. 音量百分比。")
]
ChimeOption = Annotated[bool, typer.Option("--chime/--no-chime", help="An opening chime. 开场提示音。")]
CategoryOption = Annotated[
    Category | None,
    typer.Option(
        "--category", help="What it is about; without one it is in no report. 内容类别；不填则不计入统计报表。"
    ),
]
WaitOption = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Wait for receipts; if it begins later, only when asked. 等待回执。"),
]
CoverageOption = Annotated[
    float | None,
    typer.Option("--coverage", min=0, max=100, help="So many percent heard are enough for exit code 0. 覆盖率要求。"),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `say` and `list` print it. 播报编号。")]
