"""`village-collector influx`: prepares an InfluxDB for the collector. Heavy imports stand inside the command."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from village_collector.stores.influx.plan import Admin, Step, Wish

EXIT_FAILED, EXIT_CONFIGURATION = 1, 3

influx_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prepare InfluxDB 2. 准备 InfluxDB 2。")

_SPAN = re.compile(r"([1-9][0-9]{0,5})([hdwy])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


def _span(text: str) -> timedelta:
    """Return the time that `90d`, `36h`, `4w` or `5y` means; `forever` is 0."""
    match = _SPAN.fullmatch(text)
    if match is None and text != "forever":
        raise typer.BadParameter("give a time as 36h, 90d, 4w, 5y or forever")
    return timedelta(hours=int(match[1]) * _HOURS[match[2]]) if match else timedelta(0)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
        raise typer.BadParameter("give the address of InfluxDB, as http://127.0.0.1:8086")
    return text.rstrip("/")


@influx_app.callback()
def _options() -> None:
    """Prepare InfluxDB."""


@influx_app.command(
    help="Make organisation, buckets, down-sampling task and tokens; what is right already stays as it is."
    " 创建组织、存储桶、降采样任务和令牌；已正确的部分保持不变。",
    epilog="""\b
Tokens are written to files that only their owner can read: influx-token (collector: write and read readings), influx-grafana-token
(read only) and, on a new server, influx-admin-token. 令牌写入仅所有者可读的文件。
Exit codes 退出码: 0 all is right 已就绪, 1 failed 失败, 3 wrong use 用法错误
Examples 示例:
  village-collector influx setup --url http://127.0.0.1:8086 --username admin --owner village-collector
  village-collector influx setup --url http://127.0.0.1:8086 --admin-token-file operator-token --retention 180d --dry-run
""",
)
def setup(
    url: Annotated[str, typer.Option(parser=_url, metavar="URL", help="Address of InfluxDB. InfluxDB 地址。")],
    organisation: Annotated[str, typer.Option(help="Organisation. 组织。")] = "village",
    bucket: Annotated[
        str,
        typer.Option(
            help="Bucket of readings; the one of means gets -5m behind its name. 读数存储桶；均值桶名加 -5m。"
        ),
    ] = "telemetry",
    retention: Annotated[
        timedelta | None,
        typer.Option(
            parser=_span,
            metavar="TIME",
            show_default=False,
            help="Keep readings for so long; a new bucket gets 90d. 读数保留时间，新桶默认 90d。",
        ),
    ] = None,
    long_retention: Annotated[
        timedelta | None,
        typer.Option(
            parser=_span,
            metavar="TIME",
            show_default=False,
            help="Keep five-minute means for so long; a new bucket gets 5y. 五分钟均值保留时间，新桶默认 5y。",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where token files are written. 令牌文件所在文件夹。")] = Path(
        "/etc/village-edge"
    ),
    owner: Annotated[
        str,
        typer.Option(
            help="User who shall own the collector's token file. 采集端令牌文件的所有者。", show_default=False
        ),
    ] = "",
    admin_token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with an operator's token, for a server in use. 管理员令牌文件（已初始化的服务器）。",
            show_default=False,
        ),
    ] = None,
    username: Annotated[
        str, typer.Option(help="First user of a new server. 新服务器的第一个用户。", show_default=False)
    ] = "",
    password_file: Annotated[
        Path | None,
        typer.Option(
            help="File with that user's password; without it you are asked. 该用户的密码文件；省略则询问。",
            show_default=False,
        ),
    ] = None,
    *,
    delete_older: Annotated[
        bool,
        typer.Option("--delete-older", help="Let a shorter time delete what is older. 允许缩短保留时间并删除旧数据。"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, say what would be done. 只显示，不更改。")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer for programs. 输出 JSON。")] = False,
) -> None:
    """Make an InfluxDB ready, and say what it took."""
    import asyncio

    from village_collector.stores.influx.plan import SHORTEST_RETENTION, SetupFailed, Wish

    for span in (retention, long_retention):
        if span and span < SHORTEST_RETENTION:
            raise typer.BadParameter("InfluxDB keeps readings for an hour at least")
    wish = Wish(url, organisation, bucket, folder.absolute(), retention, long_retention, delete_older, owner)
    admin = _admin(wish.folder, admin_token_file, username, password_file)
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if not as_json:
            typer.echo(
                f"{'would be ' if dry_run and step.outcome != 'kept' else ''}{step.outcome:8} {step.part:16} {step.detail}"
            )

    try:
        asyncio.run(_run(wish, admin, dry_run, tell))
    except SetupFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_FAILED) from None
    _show(wish, steps, dry_run, as_json)


async def _run(wish: Wish, admin: Admin, dry_run: bool, tell: Callable[[Step], None]) -> None:
    from village_collector.stores.influx.setup import Setup

    # The client's connections need a running loop.
    await Setup(wish, admin, dry=dry_run, tell=tell).run()


def _show(wish: Wish, steps: Sequence[Step], dry_run: bool, as_json: bool) -> None:
    changed = any(step.outcome != "kept" for step in steps)
    if as_json:
        import json

        document = {
            "schema": "village-collector.influx-setup/1",
            "dry_run": dry_run,
            "changed": changed and not dry_run,
            "steps": [step._asdict() for step in steps],
            "telemetry": dict(wish.telemetry()),
        }
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    if not changed:
        typer.echo("All was right already; nothing was changed. 一切就绪，未作更改。")
    elif dry_run:
        typer.echo("Nothing was changed. 未作更改。")
    typer.echo("\nFor the collector's configuration 写入采集端配置:\n\n[telemetry]")
    for key, value in wish.telemetry().items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        typer.echo(f'{key} = "{escaped}"')


def _admin(folder: Path, token_file: Path | None, username: str, password_file: Path | None) -> Admin:
    from village_collector.config import read_secret
    from village_collector.stores.influx.plan import ADMIN_FILE, Admin
    from village_wire.settings import InvalidSettings

    if token_file is None and (folder / ADMIN_FILE).exists():
        token_file = folder / ADMIN_FILE
    try:
        token = read_secret(token_file, "--admin-token-file") if token_file else ""
        password = read_secret(password_file, "--password-file") if password_file else ""
    except InvalidSettings as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    if username and not password and not token:
        password = typer.prompt(
            "Password of the first user 第一个用户的密码", hide_input=True, confirmation_prompt=True, err=True
        )
    return Admin(token, username, password)
