"""`village totp`: a second factor from an authenticator on the telephone."""

from __future__ import annotations

import os
from dataclasses import replace

import typer

from village_cli.asking import NobodyToAsk, ask_code, somebody_there
from village_cli.documents import text
from village_cli.failures import answering
from village_cli.options import connect, examples, settings_of
from village_cli.passwords import given_or_asked
from village_cli.qr import NoQrOption, show_qr, wanted
from village_cli.tables import say
from village_cli.text import word
from village_wire.language import Bilingual

ENABLE_EXAMPLES = examples("village totp enable", "village totp enable --no-qr")
DISABLE_EXAMPLES = examples("village totp disable")


@answering
def totp_enable(ctx: typer.Context, no_qr: NoQrOption = False) -> None:
    """From then on a login needs a code of your authenticator, too.

    启用两步验证。
    """
    language = settings_of(ctx).language
    _need_a_person()
    with connect(ctx) as client:
        answer = client.post("/me/totp", "village.totp/1", {})
        secret = text(answer.document, "secret")
        say(word("totp_scan", language))
        if wanted(no_qr):
            show_qr(text(answer.document, "uri"), language)
        say(f"{word('totp_secret', language)}: {secret}")
        say(text(answer.document, "uri"))
        code = ask_code(language)
        password = given_or_asked(None, word("ask_present_password", language))
        client.do("POST", "/me/totp", {"password": password, "secret": secret, "code": code})
    _remember(client.url, used=True)
    say(word("totp_enabled", language))


@answering
def totp_disable(ctx: typer.Context) -> None:
    """From then on the password is enough.

    停用两步验证。
    """
    language = settings_of(ctx).language
    _need_a_person()
    with connect(ctx) as client:
        client.get("/me", "village.me/1")
        password = given_or_asked(None, word("ask_present_password", language))
        client.do("DELETE", "/me/totp", {"password": password, "code": ask_code(language)})
    _remember(client.url, used=False)
    say(word("totp_disabled", language))


def _remember(url: str, *, used: bool) -> None:
    from village_cli.credentials import Credentials, default_folder

    credentials = Credentials(default_folder(os.environ))
    kept = credentials.of(url)
    if kept is not None:
        credentials.keep(url, replace(kept, second_factor=used))


def _need_a_person() -> None:
    if not somebody_there():
        raise NobodyToAsk(Bilingual("A code", "验证码"), Bilingual("Run it on a terminal.", "请在终端中运行。"))
