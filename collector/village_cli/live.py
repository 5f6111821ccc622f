"""`village broadcast live`: speak to loudspeakers, and listen to what was said."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.broadcast import finish, follow
from village_cli.broadcast_options import (
    CategoryOption,
    ChimeOption,
    ClassOption,
    CoverageOption,
    IdArgument,
    TitleOption,
    ToOptions,
    VolumeOption,
)
from village_cli.broadcast_watch import NOWHERE, SCHEMA, broadcast_id, typed_id
from village_cli.documents import number, text
from village_cli.failures import Failure, answering
from village_cli.options import JsonOption, connect, examples, settings_of
from village_cli.readiness import enter_pressed, wait_until_ready
from village_cli.reasons import told
from village_cli.tables import note, say
from village_cli.target import parse_target
from village_cli.text import word
from village_cli.times import parse_span
from village_wire.language import Language

if TYPE_CHECKING:
    from village_cli.client import Client

#: Of the time in which a voice must begin, so much is left for a microphone and an encoder to start.
BEGIN_SECONDS = 5.0

LIVE_EXAMPLES = examples(
    "village broadcast live --to 441900003001",
    "village broadcast live --to 441900003000 --class emergency --no-chime --ready-within 3s --from pulse:headset",
    "village broadcast live --to gate-1/speaker --from speech.mp3",
    "village broadcast live --to 441900003001 --from - < speech.wav",
)
RECORDING_EXAMPLES = examples(
    "village broadcast recording 019a5f3e-7c00-7abc-8def-0123456789ab -o speech.ogg",
    "village broadcast recording 019a5f3e-7c00-7abc-8def-0123456789ab -o - | ffplay -",
)


@answering
def broadcast_live(
    ctx: typer.Context,
    to: ToOptions,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE|-|pulse[:SOURCE]|alsa:DEVICE",
            help="Where the voice comes from; else PulseAudio's microphone. 声音来源。",
        ),
    ] = "pulse",
    rank: ClassOption = "notice",
    title: TitleOption = "",
    volume: VolumeOption = None,
    chime: ChimeOption = True,
    category: CategoryOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for receipts. 等待回执。")] = True,
    ready_within: Annotated[
        str,
        typer.Option(
            "--ready-within",
            metavar="SPAN",
            help="Wait no longer for loudspeakers to be ready; at most 15s. 就绪等待上限。",
        ),
    ] = "10s",
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Wait for no loudspeaker: each misses what is said before it is ready. 不等待，未就绪的会漏播开头。",
        ),
    ] = False,
    coverage: CoverageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Speak live on all loudspeakers of the targets, until Ctrl-C or the end of the file; it is recorded at the collector.

    You speak once all are ready that are known to be connected: amplifier on, chime over. Enter begins at once.

    实时喊话，按 Ctrl-C 或文件播完即结束；采集端会录音备查。在线扬声器全部就绪（功放已开、提示音已毕）后开始，按回车立即开始。

    Exit code: 0 all were heard, 1 some, 2 none, 3 not known yet. 退出码：0 全部播放，1 部分，2 均未播放，3 未定。
    """
    from village_cli.speaking import Source, speaking, try_out

    wanted = Source.parse(source)
    patience = 0.0 if now else parse_span(ready_within).total_seconds()
    language = settings_of(ctx).language
    request: dict[str, Any] = {"targets": [parse_target(one).document() for one in to], "rank": rank, "chime": chime}
    request |= {
        key: value
        for key, value in (("title", title), ("volume", volume), ("category", category))
        if value or value == 0
    }
    try_out(wanted, source)
    with connect(ctx) as client:
        announced = _announce(client, request)
        identity = broadcast_id(text(announced, "id"))
        try:
            if patience:
                limit = (number(announced.get("begin_within")) or 0.0) - BEGIN_SECONDS
                _ready(client, identity, min(patience, limit), language, asks=source != "-" and sys.stdin.isatty())
            with speaking(wanted) as pieces:
                note(word("live_speak", language))
                spoken = client.speak(f"/live/{identity}/voice", "village.spoken/1", pieces).document
        except BaseException:
            # Loudspeakers that wait for a voice keep silent.
            with contextlib.suppress(Failure):
                client.post(f"/broadcasts/{identity}/withdraw", SCHEMA, {"reason": "nobody spoke"})
                note(word("live_withdrawn", language))
            raise
        seconds = number(spoken.get("seconds")) or 0.0
        note(word("live_spoken", language).format(seconds=f"{seconds:.1f}", id=identity))
        if text(spoken, "reason"):
            note(word("live_cut", language).format(reason=told(text(spoken, "reason"), language)))
        answer = client.get(f"/broadcasts/{identity}", SCHEMA)
        if wait:
            answer = follow(client, answer, language, as_json=as_json)
    finish(answer, language, coverage, as_json=as_json)


@answering
def broadcast_recording(
    ctx: typer.Context,
    identity: IdArgument,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout. 输出文件。")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file. 覆盖已有文件。")] = False,
) -> None:
    """Save what was said live, as Ogg Opus; that it was listened to is kept in the audit log.

    保存实时喊话录音（Ogg Opus）；收听行为记入审计日志。
    """
    from village_cli.saving import save

    with connect(ctx) as client:
        content = client.recording(f"/live/{typed_id(identity)}/recording")
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    path = Path(output)
    save(path, content, force=force)
    say(word("saved", settings_of(ctx).language).format(bytes=len(content), file=path))


def _announce(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    from village_cli.client import Problem

    try:
        return client.post("/live", "village.live/1", request).document
    except Problem as problem:
        # Refused as a whole: nobody will hear it.
        problem.exit_code = NOWHERE
        raise


def _ready(client: Client, identity: str, seconds: float, language: Language, *, asks: bool) -> None:
    """Wait for amplifiers and chimes, and say who is ready; `asks` whether somebody at a terminal is in a hurry."""
    note(word("live_hurry" if asks else "live_ready", language))
    found = wait_until_ready(client, identity, seconds, enter_pressed if asks else lambda: False)
    note(found.line(language))
