"""Passwords, from a file or from a person; `village passwd`."""

from __future__ import annotations

from pathlib import Path

import typer

from village_cli.asking import NobodyToAsk, ask_secret, read_secret, somebody_there
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import JsonOption, NewPasswordFileOption, PasswordFileOption, connect, examples, settings_of
from village_cli.tables import emit_done, say
from village_cli.text import word
from village_wire.language import Bilingual, Language

EXAMPLES = examples("village passwd", "village passwd --password-file old.txt --new-password-file new.txt")


@answering
def passwd(
    ctx: typer.Context,
    password_file: PasswordFileOption = None,
    new_password_file: NewPasswordFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change your password; all other sessions of yours end.

    修改密码，其他会话随即失效。
    """
    language = settings_of(ctx).language
    with connect(ctx) as client:
        # Whether anybody is logged in is told before two passwords were typed.
        client.get("/me", "village.me/1")
        request = {
            "password": given_or_asked(password_file, word("ask_present_password", language)),
            "new_password": new_password(new_password_file, language),
        }
        client.do("PUT", "/me/password", request)
    if as_json:
        emit_done(url=client.url)
        return
    say(word("password_changed", language))


def given_or_asked(file: Path | None, question: str) -> str:
    """Return the password of a file, or one that is typed; raises `Failure`."""
    if file is not None:
        return read_secret(file)
    if not somebody_there():
        raise NobodyToAsk(
            Bilingual("A password", "密码"),
            Bilingual(
                "Give --password-file; programs better use a token in VILLAGE_TOKEN.",
                "请用 --password-file 提供；程序宜使用 VILLAGE_TOKEN。",
            ),
        )
    return _typed(question)


def new_password(file: Path | None, language: Language) -> str:
    """Return a new password from a file, or one that was typed twice; raises `Failure`."""
    if file is not None:
        return read_secret(file)
    if not somebody_there():
        raise NobodyToAsk(
            Bilingual("A new password", "新密码"),
            Bilingual("Give --new-password-file.", "请用 --new-password-file 提供。"),
        )
    first = _typed(word("ask_new_password", language))
    if _typed(word("ask_new_password_again", language)) != first:
        raise Failure(
            Bilingual("The two passwords differ; nothing was changed.", "两次输入不一致，未做更改。"), exit_code=USAGE
        )
    return first


def _typed(question: str) -> str:
    password = ask_secret(question)
    if not password:
        raise Failure(Bilingual("No password was given.", "未输入密码。"), exit_code=USAGE)
    return password
