"""`village broadcast`: speak through loudspeakers, with a receipt of each."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from village_cli.failures import USAGE, Failure, answering
from village_cli.options import JsonOption, NoWaitOption, ToOption, examples
from village_cli.sending import carry_out, show_command
from village_cli.target import parse_target
from village_cli.text import Bilingual

#: The collector takes 2,000 characters; reading more of a pipe is of no use.
MAX_CHARACTERS = 2000

SAY_EXAMPLES = examples(
    'village broadcast say "村民朋友们，请注意防范电信诈骗。" --to 441900003001',
    'village broadcast say "Heavy rain tonight" --to gate-1/speaker --volume 80',
    "village broadcast say - --to 441900003000 --expires 10m < notice.txt",
)
STOP_EXAMPLES = examples("village broadcast stop --to 441900003001")
SHOW_EXAMPLES = examples("village broadcast show 019a5f3e-7c00-7abc-8def-0123456789ab")


@answering
def broadcast_say(
    ctx: typer.Context,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads standard input. 播报内容。")],
    to: ToOption,
    volume: Annotated[
        float | None, typer.Option("--volume", min=0, max=100, help="Percent of each device's range. 音量百分比。")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="Never begin later than this. 超过此时长不再播报。")
    ] = "60s",
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Speak a text on all loudspeakers of a target and tell which sounded.

    通过扬声器播报，并报告哪些已播放。

    Exit code: 0 all sounded, 1 some, 2 none. 退出码：0 全部播放，1 部分播放，2 均未播放。
    """
    target = parse_target(to)
    spoken = _read(words)
    arguments: dict[str, str | float] = {"kind": "say", "text": spoken}
    if volume is not None:
        arguments["volume"] = volume
    carry_out(
        ctx,
        target,
        arguments,
        expires=expires,
        wait=not no_wait,
        as_json=as_json,
        done_key="sounded",
        show_command="village broadcast show",
    )


@answering
def broadcast_stop(
    ctx: typer.Context, to: ToOption, no_wait: NoWaitOption = False, as_json: JsonOption = False
) -> None:
    """Silence all loudspeakers of a target.

    停止目标的播报。
    """
    carry_out(
        ctx,
        parse_target(to),
        {"kind": "stop"},
        expires="30s",
        wait=not no_wait,
        as_json=as_json,
        done_key="fell_silent",
    )


@answering
def broadcast_show(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `say` printed it. 播报编号。")],
    as_json: JsonOption = False,
) -> None:
    """Show which loudspeakers a broadcast reached.

    显示一次播报的覆盖情况。

    Exit code as `say`, 3 while it is not known yet. 退出码同 say，结果未定时为 3。
    """
    show_command(ctx, identity, as_json=as_json, done_key="sounded")


def _read(words: str) -> str:
    try:
        text = sys.stdin.read(MAX_CHARACTERS + 2) if words == "-" else words
    except UnicodeDecodeError:
        raise Failure(
            Bilingual("Standard input is not text.", "标准输入不是文本。"),
            Bilingual("Save it as UTF-8.", "请保存为 UTF-8。"),
            exit_code=USAGE,
        ) from None
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        raise Failure(
            Bilingual(
                f"A text has 1 to {MAX_CHARACTERS} characters, not {len(text)}{'+' if text else ''}.",
                f"文本应为 1 至 {MAX_CHARACTERS} 个字符。",
            ),
            Bilingual("Write something, or split it.", "请输入内容或分段播报。"),
            exit_code=USAGE,
        )
    return text
