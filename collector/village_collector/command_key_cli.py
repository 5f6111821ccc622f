"""`village-collector command-key`: the key that signs commands, and how another one follows it. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_collector.cli_options import EXIT_FAILED, ConfigOption, DataDirOption, JsonOption, load

if TYPE_CHECKING:
    from datetime import datetime

    from village_collector.config import Settings
    from village_collector.trust.authority import Authority
    from village_collector.trust.command_keys import KeyRing

command_key_app = typer.Typer(
    rich_markup_mode=None,
    help="Print the public key that agents need as `command_key`; made at the first call. 打印代理配置中 command_key 所需的公钥。",
    epilog="""\b
Examples 示例:
  village-collector command-key --data-dir /var/lib/village-collector
  village-collector command-key show                     which keys count 查看有效密钥
  village-collector command-key rotate                   a new key in seven days 七天后启用新密钥
  village-collector command-key rotate --compromised     a new key at once 密钥泄露：立即更换
""",
)

_SPAN = re.compile(r"([1-9][0-9]{0,6})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _span(text: str) -> timedelta:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise typer.BadParameter("give a span as 90m, 12h, 7d or 2w 请填写时长，如 90m、12h、7d、2w")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


@command_key_app.callback(invoke_without_command=True)
def command_key(ctx: typer.Context, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Print the public key."""
    if ctx.invoked_subcommand is not None:
        # Options of the group count for its commands too.
        ctx.obj = (config, data_dir)
        return
    settings = load(config, data_dir)
    from village_collector.data_dir import DataDirProblem
    from village_collector.trust.command_keys import load_command_key
    from village_wire.signed import encode_public_key

    folder = settings.collector.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        typer.echo(encode_public_key(load_command_key(folder, settings.collector.keys_dir).public_key()))
    except (OSError, DataDirProblem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_FAILED) from None


@command_key_app.command(
    help="Make a new key that signs once the overlap is over; agents learn it meanwhile. 生成新密钥，重叠期后启用，期间代理会获知。",
    epilog="""\b
A running collector notices it within seconds, tells all agents, and changes keys by itself. An agent that is away learns the new
key when it comes back. 运行中的采集端数秒内获知并通知所有代理，到期自动切换；离线代理重新连接后获知。
Several collectors: before the change copy command_key.next and command_keys.json to the keys_dir of each other one.
多个采集端：切换前请将 command_key.next 和 command_keys.json 复制到其他采集端的 keys_dir。
Exit codes 退出码: 0 done 完成, 1 refused or failed 拒绝或失败, 3 configuration wrong 配置错误
Examples 示例:
  village-collector command-key rotate --config /etc/village-edge/collector.toml
  village-collector command-key rotate --overlap 30d
  village-collector command-key rotate --compromised
""",
)
def rotate(
    ctx: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    overlap: Annotated[
        timedelta | None,
        typer.Option(
            parser=_span,
            metavar="SPAN",
            show_default=False,
            help="The present key goes on signing for so long; by default 7d, at most 90d. 现密钥继续签名的时长，默认 7d，最长 90d。",
        ),
    ] = None,
    *,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="The present key is in wrong hands: agents drop it as soon as they are told. 现密钥已泄露：代理获知后立即停用。",
        ),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Make the next key."""
    if compromised and overlap is not None:
        raise typer.BadParameter("a compromised key gets no overlap 泄露的密钥没有重叠期", param_hint="--overlap")
    settings = load(*_places(ctx, config, data_dir))
    from village_collector.trust.command_keys import DEFAULT_OVERLAP
    from village_collector.trust.command_keys import rotate as rotate_keys

    def work(authority: Authority, now: datetime) -> KeyRing:
        folder = settings.collector.keys_folder
        return rotate_keys(folder, authority, now, overlap or DEFAULT_OVERLAP, compromised=compromised)

    _show(settings, work, as_json=json_)
    if not json_ and settings.collector.keys_dir is not None:
        typer.echo(
            "Copy command_key, command_key.next and command_keys.json to the keys_dir of each other collector."
            " 请将这三个文件复制到其他采集端的 keys_dir。"
        )


@command_key_app.command(
    help="Show which keys agents take, and until when. 查看代理接受的密钥及期限。",
    epilog="""\b
Examples 示例:
  village-collector command-key show --data-dir /var/lib/village-collector
  village-collector command-key show --json
""",
)
def show(
    ctx: typer.Context, config: ConfigOption = None, data_dir: DataDirOption = None, *, json_: JsonOption = False
) -> None:
    """Show the keys."""
    settings = load(*_places(ctx, config, data_dir))
    from village_collector.trust.command_keys import load_ring

    def work(authority: Authority, now: datetime) -> KeyRing:
        return load_ring(settings.collector.keys_folder, authority, now)

    _show(settings, work, as_json=json_)


def _places(ctx: typer.Context, config: Any, data_dir: Any) -> tuple[Any, Any]:
    outer = ctx.obj or (None, None)
    return config or outer[0], data_dir or outer[1]


def _show(settings: Settings, work: Any, *, as_json: bool) -> None:
    from datetime import UTC, datetime

    from village_collector.data_dir import DataDirProblem
    from village_collector.trust.authority import load_authority
    from village_collector.trust.command_keys import load_command_key
    from village_wire.clocks import format_time
    from village_wire.signed import encode_public_key

    folder, shared = settings.collector.data_dir, settings.collector.keys_dir
    now = datetime.now(UTC)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        load_command_key(folder, shared)
        ring = work(load_authority(settings.collector.keys_folder, make=shared is None), now)
        # Its public half stands in a file beside it.
        load_command_key(folder, shared)
    except (OSError, DataDirProblem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_FAILED) from None
    signs = encode_public_key(ring.signer(now).public_key())
    keys = [
        {"key": key.key, "until": None if key.until is None else format_time(key.until), "signs": key.key == signs}
        for key in ring.document.keys
    ]
    switch = None if ring.switch is None or now >= ring.switch else format_time(ring.switch)
    if as_json:
        document = {
            "schema": "village-collector.command-keys/1",
            "number": ring.document.number,
            "switch": switch,
            "keys": keys,
        }
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    for key in keys:
        until = f"until {key['until']}" if key["until"] else "no end yet 未定"
        typer.echo(f"{key['key']}  {'signs 签名中' if key['signs'] else 'waits 等待'}  {until}")
    if switch is not None:
        typer.echo(f"The new key signs from {switch}. 新密钥将于此时启用。")
