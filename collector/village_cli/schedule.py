"""`village schedule`: what agents play by themselves, as a list and as calendar files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.broadcast_request import read_track, track_place
from village_cli.documents import part, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import AreaOption, JsonOption, ToOption, connect, examples, settings_of
from village_cli.tables import Cell, Table, emit, note, say, show
from village_cli.target import Target, parse_target, target_of
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Bilingual

if TYPE_CHECKING:
    from village_cli.client import Client
    from village_wire.ics.entry import Entry, Piece

SCHEMA, ONE = "village.schedules/1", "village.schedule/1"
SOUND = "urn:sha256:"

LIST_EXAMPLES = examples("village schedule list", "village schedule list --area 441900003001 --json")
IMPORT_EXAMPLES = examples(
    "village schedule import autumn.ics --to 441900003001",
    "village schedule import autumn.ics --to 441900003001 --replace",
    "village schedule import lessons.ics --to 441900003001/tag:school",
    "village schedule import - --to gate-1/speaker < morning.ics",
)
EXPORT_EXAMPLES = examples(
    "village schedule export --to 441900003001 > autumn.ics",
    "village schedule export --to 441900003001/tag:school -o lessons.ics --force",
)
REMOVE_EXAMPLES = examples("village schedule remove morning --to 441900003001")


@answering
def schedule_list(ctx: typer.Context, area: AreaOption = None, as_json: JsonOption = False) -> None:
    """List programmes with their next time, in local time.

    列出节目及其下次播放时间（本地时间）。
    """
    language = settings_of(ctx).language
    with connect(ctx) as client:
        answer = client.get("/schedules", SCHEMA, area=area)
    if as_json:
        emit(answer.text)
        return
    found: list[list[Cell | str]] = [
        [
            local_text(next(iter(programme.get("next") or []), None)),
            str(target_of(part(schedule, "target"))),
            Cell(text(programme, "id"), "bold"),
            text(programme, "title"),
            word(f"category_{text(programme, 'category')}", language),
            word(f"class_{text(programme, 'rank')}", language),
            text(part(programme, "when"), "rule"),
        ]
        for schedule in rows(answer.document, "schedules")
        for programme in rows(schedule, "programmes")
    ]
    # What has no next time comes last.
    found.sort(key=lambda row: (row[0] == "-", str(row[0])))
    show(Table(("next", "target", "id", "title", "category", "rank", "rule"), found), language)


@answering
def schedule_import(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file .ics; - reads standard input. 日历文件。")],
    to: ToOption,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove all other programmes of the target. 替换全部节目。")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the events of a calendar file as programmes; those with known ids are replaced.

    导入 .ics 日历为节目；编号相同的会被替换。

    Attached files (ATTACH, paths beside the calendar) are uploaded; without any the description is spoken. ATTACH:village-track:2/15
    plays a track of the loudspeakers' own cards.

    附件音频会上传；无附件时播报事件描述；ATTACH:village-track:2/15 播放存储卡曲目。
    """
    from village_wire.ics.lines import InvalidCalendar
    from village_wire.ics.reading import read_calendar

    target = _place(to)
    folder, content = _read(file)
    try:
        entries = read_calendar(content)
    except InvalidCalendar as error:
        raise Failure(
            Bilingual(f"{file} can't be imported: {error}.", f"无法导入 {file}：{error}。"),
            Bilingual("Correct the file there, and import it again.", "请修改该处后重新导入。"),
            exit_code=USAGE,
            reason=str(error),
        ) from None
    with connect(ctx) as client:
        programmes = [_programme(client, entry, folder) for entry in entries]
        body = {"target": target.document(), "programmes": programmes, "replace": replace}
        answer = client.post("/schedules", ONE, body)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    there = rows(answer.document, "programmes")
    say(word("imported", language).format(count=len(entries), total=len(there)))
    imported = {entry.id for entry in entries}
    over = [text(one, "id") for one in there if text(one, "id") in imported and not one.get("next")]
    if over:
        note(word("schedule_over", language).format(ids=", ".join(over)))
    if answer.document.get("loudspeakers") == 0:
        note(word("schedule_nobody", language).format(target=target))


@answering
def schedule_export(
    ctx: typer.Context,
    to: ToOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output. 输出文件。")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file. 覆盖已有文件。")] = False,
) -> None:
    """Write the programmes of one target as a calendar file (.ics).

    将某个目标的节目导出为 .ics 日历文件。
    """
    from village_cli.saving import refuse_existing, save
    from village_wire.ics.writing import write_calendar

    if output is not None:
        refuse_existing(output, force=force)
    target = parse_target(to)
    with connect(ctx) as client:
        document = client.get("/schedules", SCHEMA).document
    found = [one for one in rows(document, "schedules") if target_of(part(one, "target")) == target]
    if not found:
        raise Failure(
            Bilingual(f"{target} has no programmes of its own.", f"{target} 没有节目。"),
            Bilingual("List them with `village schedule list`.", "请用 village schedule list 查看。"),
        )
    content = write_calendar([_entry(one) for one in rows(found[0], "programmes")], datetime.now(UTC))
    if output is None:
        sys.stdout.buffer.write(content.encode())
        sys.stdout.flush()
        return
    save(output, content.encode(), force=force)
    say(word("saved", settings_of(ctx).language).format(bytes=len(content.encode()), file=output))


@answering
def schedule_remove(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As `list` shows them. 节目编号。")],
    to: ToOption,
    as_json: JsonOption = False,
) -> None:
    """Remove programmes; what sounds of them falls silent on connected agents.

    删除节目；在线代理立即停止播放。
    """
    body = {"target": _place(to).document(), "programmes": ids}
    with connect(ctx) as client:
        answer = client.post("/schedules/remove", ONE, body)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    say(word("removed", language).format(count=len(ids), total=len(rows(answer.document, "programmes"))))


def _place(to: str) -> Target:
    """Return the target of a schedule, which lies at one place: what tags alone stand for may change with each box."""
    target = parse_target(to)
    if target.tags and not target.area and not target.agent:
        raise Failure(
            Bilingual(f"Programmes belong to a place, not to {target} alone.", f"节目须指定地点，不能只写 {target}。"),
            Bilingual(
                f"Write the area before it: 441900003001/{target}.", f"请在前面写明区域：441900003001/{target}。"
            ),
            exit_code=USAGE,
        )
    return target


def _read(file: str) -> tuple[Path, str]:
    from village_wire.ics.reading import MAX_FILE_BYTES

    try:
        if file == "-":
            return Path(), sys.stdin.buffer.read(MAX_FILE_BYTES + 1).decode()
        with Path(file).open("rb") as opened:
            return Path(file).parent, opened.read(MAX_FILE_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or "" if isinstance(error, OSError) else "UTF-8"
        raise Failure(
            Bilingual(f"{file} can't be read: {reason}.", f"无法读取 {file}：{reason}。"),
            Bilingual("Give a calendar file in UTF-8.", "请提供 UTF-8 编码的日历文件。"),
            exit_code=USAGE,
            reason=reason,
        ) from None


def _programme(client: Client, entry: Entry, folder: Path) -> dict[str, Any]:
    return {
        "id": entry.id,
        "title": entry.title,
        "category": entry.category,
        "rank": entry.rank,
        "when": entry.when.model_dump(mode="json"),
        "items": [_item(client, piece, folder) for piece in entry.pieces],
        "volume": entry.volume,
        "chime": entry.chime,
        "max_seconds": entry.max_seconds,
    }


def _item(client: Client, piece: Piece, folder: Path) -> dict[str, Any]:
    from village_wire.ics.entry import TRACK

    if piece.text:
        return {"text": piece.text}
    if piece.sound.startswith(TRACK):
        return {"track": read_track(piece.sound.removeprefix(TRACK))}
    if piece.sound.startswith(SOUND):
        return {"audio": piece.sound.removeprefix(SOUND)}
    path = folder / piece.sound.removeprefix("file://")
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror or "" if isinstance(error, OSError) else str(error)
        raise Failure(
            Bilingual(
                f"The attached file {piece.sound[:200]} can't be read: {reason}.",
                f"无法读取附件 {piece.sound[:200]}：{reason}。",
            ),
            Bilingual("Put it beside the calendar file.", "请将其放在日历文件旁。"),
            exit_code=USAGE,
            reason=reason,
        ) from None
    answer = client.upload("/audio", "village.audio/1", [content], len(content))
    return {"audio": text(answer.document, "sha256")}


def _piece(item: Mapping[str, Any]) -> Piece:
    from village_wire.ics.entry import TRACK, Piece

    if item.get("track"):
        return Piece(sound=TRACK + track_place(part(item, "track")))
    return Piece(text=text(item, "text")) if item.get("text") else Piece(sound=SOUND + text(item, "audio"))


def _entry(programme: Mapping[str, Any]) -> Entry:
    from village_wire.ics.entry import Entry
    from village_wire.recurrence import Recurrence

    pieces = [_piece(item) for item in rows(programme, "items")]
    volume = programme.get("volume")
    return Entry(
        text(programme, "id"),
        text(programme, "title"),
        Recurrence.model_validate(part(programme, "when")),
        tuple(pieces),
        programme.get("category") or "other",
        text(programme, "rank"),
        None if volume is None else float(volume),
        bool(programme.get("chime", True)),
        int(programme.get("max_seconds") or 3600),
    )
