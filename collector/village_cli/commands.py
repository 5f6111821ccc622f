"""`village command`: any command to any target, and what became of it."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from village_cli.documents import part, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import TARGET, JsonOption, NoWaitOption, connect, examples, settings_of
from village_cli.sending import carry_out, show_command
from village_cli.tables import Cell, Table, emit, named, show
from village_cli.target import parse_target, target_of
from village_cli.times import local_text
from village_wire.language import Bilingual

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
#: Arguments that stay text, whatever they look like.
TEXTS = frozenset({"text", "colour"})

EXAMPLES = examples(
    "village command gate-1/reader indicate colour=red seconds=10",
    "village command gate-1/siren switch on=true",
    "village command 441900003001/tag:school stop",
    "village command show 019a5f3e-7c00-7abc-8def-0123456789ab",
    "village command list",
)
SEND_EXAMPLES = examples("village command send gate-1/siren switch on=false --expires 30s")
SHOW_EXAMPLES = examples("village command show 019a5f3e-7c00-7abc-8def-0123456789ab --json")
LIST_EXAMPLES = examples("village command list --limit 20")


class SendByDefault(TyperGroup):
    """A group in which `send` may be left out: `village command gate-1 stop`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class, with `send` put in front of what is no subcommand."""
        if args and args[0] not in {*self.commands, "--help", "-h"}:
            args = ["send", *args]
        return super().parse_args(ctx, args)


@answering
def command_send(
    ctx: typer.Context,
    to: Annotated[str, typer.Argument(metavar=TARGET, help="Whom it is for. 目标。")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="stop, unlock, switch, indicate. 命令类型。")],
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Its arguments. 参数。")] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="Never carried out later than this. 过期不再执行。")
    ] = "60s",
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send a command and wait for the devices' results (`send` may be left out).

    发送命令并等待结果（可省略 send）。

    Exit code: 0 all did it, 1 some, 2 none. 退出码：0 全部完成，1 部分完成，2 均未完成。
    """
    arguments = {**parse_pairs(pairs or []), "kind": kind}
    carry_out(ctx, parse_target(to), arguments, expires=expires, wait=not no_wait, as_json=as_json)


@answering
def command_show(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="The command's id. 命令编号。")],
    as_json: JsonOption = False,
) -> None:
    """Show what became of a command on each device.

    显示命令在各设备上的结果。

    Exit code as `send`, 3 while it is not known yet. 退出码同 send，结果未定时为 3。
    """
    show_command(ctx, identity, as_json=as_json, done_key="carried_out")


@answering
def command_list(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many. 最多条数。")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the latest commands: who, whom, what, with what outcome.

    列出最近的命令。
    """
    with connect(ctx) as client:
        answer = client.get("/commands", "village.commands/1", limit=limit)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    found: list[list[Cell | str]] = []
    for row in rows(answer.document, "commands"):
        counts = part(row, "counts")
        found.append(
            [
                local_text(row.get("issued")),
                text(row, "issuer"),
                str(target_of(part(row, "target"))),
                Cell(text(part(row, "arguments"), "kind"), "bold"),
                named(text(row, "state"), language),
                f"{text(counts, 'final')}/{text(counts, 'expected')}",
                text(row, "id"),
            ]
        )
    show(Table(("issued", "issuer", "target", "kind", "state", "answered", "id"), found), language)


def parse_pairs(pairs: list[str]) -> dict[str, str | float | bool]:
    """Return the arguments of `key=value` words: true and false, numbers, else text; raises `Failure`."""
    arguments: dict[str, str | float | bool] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier() or key == "kind":
            raise Failure(
                Bilingual(f"{pair[:40]!r} is no argument.", f"{pair[:40]!r} 不是参数。"),
                Bilingual("Write key=value, as on=true or seconds=5.", "请写 key=value，如 on=true 或 seconds=5。"),
                exit_code=USAGE,
            )
        arguments[key] = value if key in TEXTS else _value(value)
    return arguments


def _value(text: str) -> str | float | bool:
    if text in {"true", "false"}:
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text
