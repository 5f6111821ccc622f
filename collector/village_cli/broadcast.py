"""`village broadcast`: speak or play through loudspeakers, and know which of them were heard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.broadcast_options import (
    AtOption,
    CategoryOption,
    ChimeOption,
    ClassOption,
    CoverageOption,
    IdArgument,
    PauseOption,
    TimesOption,
    TitleOption,
    ToOptions,
    UntilOption,
    VolumeOption,
    WaitOption,
)
from village_cli.broadcast_request import Wish, now, read_text, read_track, waits
from village_cli.broadcast_view import following, headline, listed, result
from village_cli.broadcast_watch import NOWHERE, SCHEMA, View, broadcast_id, typed_id, watch
from village_cli.documents import rows, text
from village_cli.failures import answering
from village_cli.options import JsonOption, NoWaitOption, ToOption, connect, examples, settings_of
from village_cli.sending import carry_out, goes_on_without_us
from village_cli.tables import Table, emit, say, show
from village_cli.target import parse_target
from village_cli.text import word
from village_wire.language import Language

if TYPE_CHECKING:
    from village_cli.client import Answer, Client

SAY_EXAMPLES = examples(
    'village broadcast say "村民朋友们，请注意防范电信诈骗。" --to 441900003001',
    'village broadcast say "Heavy rain tonight" --to 441900003000 --class alert --times 3 --pause 10s',
    'village broadcast say "开会" --to 441900003001 --to gate-9/hall --at 18:30 --until 30m',
    'village broadcast say "今天下午停课。" --to tag:school --to 330110101000/tag:clinic,library',
    "village broadcast say - --to 441900003000 --until 10m --coverage 90 < notice.txt",
)
PLAY_EXAMPLES = examples(
    "village broadcast play anthem.mp3 --to 441900003001 --class routine --at 07:00",
    "village broadcast play siren.wav --to 441900003000 --class emergency --no-chime --times 5",
)
TRACK_EXAMPLES = examples(
    "village broadcast track 3 --to 441900003001",
    "village broadcast track 2/15 --to gate-9/horn --class alert --times 3 --pause 10s --category fire",
)
STOP_EXAMPLES = examples(
    "village broadcast stop --to 441900003001", "village broadcast stop --to 441900003001/tag:school"
)
SHOW_EXAMPLES = examples(
    "village broadcast show 019a5f3e-7c00-7abc-8def-0123456789ab",
    "village broadcast show 019a5f3e-7c00-7abc-8def-0123456789ab --wait --coverage 90",
)
LIST_EXAMPLES = examples("village broadcast list --limit 20")
WITHDRAW_EXAMPLES = examples('village broadcast withdraw 019a5f3e-7c00-7abc-8def-0123456789ab --reason "wrong village"')


@answering
def broadcast_say(
    ctx: typer.Context,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads standard input. 播报内容。")],
    to: ToOptions,
    rank: ClassOption = "notice",
    title: TitleOption = "",
    at: AtOption = None,
    until: UntilOption = "60s",
    times: TimesOption = 1,
    pause: PauseOption = "3s",
    volume: VolumeOption = None,
    chime: ChimeOption = True,
    category: CategoryOption = None,
    wait: WaitOption = None,
    coverage: CoverageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Speak a text on all loudspeakers of the targets and tell which were heard.

    通过扬声器播报文本，并报告哪些已播放。

    Exit code: 0 all were heard, 1 some, 2 none, 3 not known yet. 退出码：0 全部播放，1 部分，2 均未播放，3 未定。
    """
    wish = Wish(to, rank, title, at, until, times, pause, volume, chime, category)
    moment = now()
    document = wish.document(moment, text=read_text(words))
    with connect(ctx) as client:
        _issue(ctx, client, document, wait=waits(wait, document, moment), coverage=coverage, as_json=as_json)


@answering
def broadcast_play(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sound file of any common format. 音频文件。")],
    to: ToOptions,
    rank: ClassOption = "notice",
    title: TitleOption = "",
    at: AtOption = None,
    until: UntilOption = "60s",
    times: TimesOption = 1,
    pause: PauseOption = "3s",
    volume: VolumeOption = None,
    chime: ChimeOption = True,
    category: CategoryOption = None,
    wait: WaitOption = None,
    coverage: CoverageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play a sound file on all loudspeakers of the targets; its loudness is made even at the collector.

    通过扬声器播放音频文件，响度由采集端统一。

    Exit code: as `say`. 退出码同 say。
    """
    from village_cli.uploading import upload

    wish = Wish(to, rank, title or file.stem[:80], at, until, times, pause, volume, chime, category)
    # Read before the upload: 18:30 that passes meanwhile must not become that of tomorrow. A span of --until counts from what comes after it.
    moment = now()
    document = wish.document(moment)
    language = settings_of(ctx).language
    with connect(ctx) as client:
        document["audio"] = upload(client, file, language, quiet=as_json)
        _issue(ctx, client, document, wait=waits(wait, document, moment), coverage=coverage, as_json=as_json)


@answering
def broadcast_track(
    ctx: typer.Context,
    track: Annotated[
        str, typer.Argument(metavar="NUMBER|FOLDER/NUMBER", help="As the card's files are numbered. 曲目编号。")
    ],
    to: ToOptions,
    rank: ClassOption = "notice",
    title: TitleOption = "",
    at: AtOption = None,
    until: UntilOption = "60s",
    times: TimesOption = 1,
    pause: PauseOption = "3s",
    volume: VolumeOption = None,
    category: CategoryOption = None,
    wait: WaitOption = None,
    coverage: CoverageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play a track of the loudspeakers' own cards; other loudspeakers have none. What interrupts it lets it begin again later.

    播放扬声器存储卡上的曲目；被打断后从头重播，其他扬声器无法播放。

    Exit code: as `say`. 退出码同 say。
    """
    wish = Wish(to, rank, title, at, until, times, pause, volume, True, category)
    moment = now()
    document = wish.document(moment, track=read_track(track))
    with connect(ctx) as client:
        _issue(ctx, client, document, wait=waits(wait, document, moment), coverage=coverage, as_json=as_json)


@answering
def broadcast_list(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many. 最多条数。")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the latest broadcasts with what was heard of them.

    列出最近的播报及覆盖率。
    """
    with connect(ctx) as client:
        answer = client.get("/broadcasts", "village.broadcasts/1", limit=limit)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    found = [listed(View(row), language) for row in rows(answer.document, "broadcasts")]
    show(Table(("issued", "issuer", "class", "content", "target", "state", "heard", "id"), found), language)


@answering
def broadcast_show(
    ctx: typer.Context,
    identity: IdArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until its end. 等待至结束。")] = False,
    coverage: CoverageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a broadcast is, its coverage by area, and who did not hear it, and why.

    显示播报内容、各区域覆盖情况，以及未播放的扬声器和原因。

    Exit code as `say`. 退出码同 say。
    """
    language = settings_of(ctx).language
    with connect(ctx) as client:
        answer = client.get(f"/broadcasts/{typed_id(identity)}", SCHEMA)
        if wait:
            answer = follow(client, answer, language, as_json=as_json)
    if not as_json:
        say(headline(View(answer.document), language))
    finish(answer, language, coverage, as_json=as_json)


@answering
def broadcast_withdraw(
    ctx: typer.Context,
    identity: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="Told to the agents, and kept. 撤回原因。")] = "",
    as_json: JsonOption = False,
) -> None:
    """Take a broadcast away wherever it waits or sounds; agents that are away are told when they come back.

    撤回播报：等待或播放中的均停止，离线代理恢复后执行。
    """
    with connect(ctx) as client:
        answer = client.post(f"/broadcasts/{typed_id(identity)}/withdraw", SCHEMA, {"reason": reason})
    if as_json:
        emit(answer.text)
        return
    result(View(answer.document), settings_of(ctx).language)


@answering
def broadcast_stop(
    ctx: typer.Context, to: ToOption, no_wait: NoWaitOption = False, as_json: JsonOption = False
) -> None:
    """Silence all loudspeakers of a target, and drop what they have to say.

    停止目标的所有播报。
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


def _issue(
    ctx: typer.Context,
    client: Client,
    document: dict[str, Any],
    *,
    wait: bool,
    coverage: float | None,
    as_json: bool,
) -> None:
    from village_cli.client import Problem

    language = settings_of(ctx).language
    try:
        first = client.post("/broadcasts", SCHEMA, document)
    except Problem as problem:
        # Refused as a whole: nobody will hear it.
        problem.exit_code = NOWHERE
        raise
    if not wait:
        if as_json:
            emit(first.text)
            return
        identity = broadcast_id(text(first.document, "id"))
        say(word("broadcast_sent", language).format(number=View(first.document).count("expected"), id=identity))
        say(word("look_later", language).format(command=f"village broadcast show {identity}"))
        return
    finish(follow(client, first, language, as_json=as_json), language, coverage, as_json=as_json)


def follow(client: Client, first: Answer, language: Language, *, as_json: bool) -> Answer:
    """Show what becomes of a broadcast until its end, or until Ctrl-C, which ends the program but not the broadcast."""
    look = f"village broadcast show {broadcast_id(text(first.document, 'id'))}"
    with goes_on_without_us("broadcast_goes_on", look, language):
        if as_json:
            return watch(client, first, lambda _: None)
        with following(language) as changed:
            return watch(client, first, changed)


def finish(answer: Answer, language: Language, coverage: float | None, *, as_json: bool) -> None:
    """Show the coverage and exit with its code."""
    view = View(answer.document)
    if as_json:
        emit(answer.text)
    else:
        result(view, language)
    raise typer.Exit(view.exit_code(coverage))
