"""`village login`, `logout` and `whoami`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.documents import part, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.grants import grants_text
from village_cli.options import JsonOption, NewPasswordFileOption, PasswordFileOption, connect, examples, settings_of
from village_cli.safety import escape_json
from village_cli.tables import emit, emit_done, note, say
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Client

EXAMPLES = examples(
    "village login li --url https://collector.example.cn:8480",
    "village login li --url https://10.0.0.5:8480 --fingerprint 5F:1C:... --password-file password.txt",
    "village login li --ca ca.pem",
)
LOGOUT_EXAMPLES = examples("village logout", "village logout --forget")
WHOAMI_EXAMPLES = examples("village whoami", "village whoami --json")


@answering
def login(
    ctx: typer.Context,
    person: Annotated[
        str | None, typer.Argument(metavar="[PERSON]", help="Your name; else it is asked. 用户名；缺省时询问。")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="The collector's address. 采集端地址。")
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", metavar="HEX", help="SHA-256 of the collector's authority. 采集端 CA 的 SHA-256 指纹。"
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Its certificate (PEM), else VILLAGE_CA. 采集端 CA 证书 (PEM)。"),
    ] = None,
    password_file: PasswordFileOption = None,
    new_password_file: NewPasswordFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log in; the session lasts some hours and serves all commands.

    登录采集端，会话数小时内对所有命令有效。

    At the first login the fingerprint of the collector's authority is shown; from then on no other is accepted.
    首次登录会显示采集端 CA 的指纹，此后只认该 CA。
    """
    from village_cli.asking import ask_code, somebody_there
    from village_cli.client import Client
    from village_cli.credentials import Credentials, Login, default_folder
    from village_cli.passwords import given_or_asked
    from village_cli.sessions import Session, url_of
    from village_cli.trusting import remember, settle

    settings = settings_of(ctx)
    language = settings.language
    address = url_of(replace(settings, url=url) if url is not None else settings)
    if fingerprint is not None and ca is not None:
        raise Failure(
            Bilingual("--fingerprint and --ca say the same.", "--fingerprint 与 --ca 作用相同。"),
            Bilingual("Give one of them.", "请只给其一。"),
            exit_code=USAGE,
        )
    if ca is None and fingerprint is None and os.environ.get("VILLAGE_CA"):
        ca = Path(os.environ["VILLAGE_CA"])
    credentials = Credentials(default_folder(os.environ))
    kept = credentials.of(address)
    authority = settle(address, kept, language, file=ca, wanted=fingerprint)
    kept = remember(credentials, address, kept, authority)
    name = person or _name(kept.person, language)
    request = {"person": name, "password": given_or_asked(password_file, word("ask_password", language))}
    if kept.second_factor and name.casefold() == kept.person and somebody_there():
        # Sent without a code, the collector would count and record a failed login first.
        request["code"] = ask_code(language)
    with Client(Session(address, authority)) as client:
        document = _enter(client, request, new_password_file, language)
    session = Login(
        authority,
        text(document, "token"),
        text(document, "person"),
        text(document, "expires"),
        second_factor="code" in request,
    )
    credentials.keep(address, session)
    if as_json:
        told = {"schema": "village.login/1", "url": address, **_without_token(document)}
        emit(escape_json(json.dumps(told, ensure_ascii=False)))
        return
    say(
        word("logged_in", language).format(
            url=address, person=text(document, "person"), time=local_text(document.get("expires"))
        )
    )


@answering
def logout(
    ctx: typer.Context,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget the collector's authority, too. 同时忘记采集端的 CA。")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """End the session, here and at the collector.

    退出登录。
    """
    from village_cli.client import NotLoggedIn
    from village_cli.credentials import Credentials, default_folder
    from village_cli.sessions import url_of

    settings = settings_of(ctx)
    address = url_of(settings)
    credentials = Credentials(default_folder(os.environ))
    kept = credentials.of(address)
    if kept is None or not (kept.token or forget):
        _ended("not_logged_in", address, settings.language, as_json=as_json)
        return
    try:
        if kept.token:
            with connect(ctx) as client:
                client.do("POST", "/logout")
    except NotLoggedIn:
        pass
    except Failure:
        note(word("session_goes_on", settings.language).format(time=local_text(kept.expires)))
        raise
    finally:
        # Also where the collector can't be reached: the token must not stay on a machine that is left.
        if forget:
            credentials.forget(address)
        else:
            credentials.end_session(address)
    _ended("logged_out", address, settings.language, as_json=as_json)


def _ended(key: str, url: str, language: Language, *, as_json: bool) -> None:
    if as_json:
        emit_done(url=url)
    else:
        say(word(key, language).format(url=url))


@answering
def whoami(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Show who you are to the collector, and what you may do where.

    显示当前登录身份和权限。
    """
    with connect(ctx) as client:
        answer = client.get("/me", "village.me/1")
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    document = answer.document
    token = part(document, "token")
    facts = {
        "person": text(document, "person"),
        "collector_url": client.url,
        "roles": grants_text(document, "grants", language),
        "narrowed": grants_text(document, "narrowed", language),
        "second_factor": word("yes" if document.get("totp") else "no", language),
        "label": text(token, "label"),
        "expires": local_text(token.get("expires")),
    }
    for key, value in facts.items():
        if value:
            say(f"{word(key, language)}: {value}")


def _name(last: str, language: Language) -> str:
    from village_cli.asking import NobodyToAsk, ask, somebody_there

    if not somebody_there():
        raise NobodyToAsk(
            Bilingual("A name", "用户名"), Bilingual("Write `village login PERSON`.", "请写 village login PERSON。")
        )
    question = word("ask_name_again" if last else "ask_name", language).format(person=last)
    name = ask(question) or last
    if not name:
        raise Failure(Bilingual("Nobody was logged in.", "未登录。"))
    return name


def _enter(
    client: Client, request: dict[str, str], new_password_file: Path | None, language: Language
) -> dict[str, Any]:
    """Return the answer to a login, after asking for what it lacks: the code of a second factor, an own password for an initial one."""
    from village_cli.asking import ask, somebody_there
    from village_cli.client import Problem
    from village_cli.passwords import new_password

    while True:
        try:
            answer = client.post("/login", "village.login/1", request)
        except Problem as problem:
            # The collector does not tell whether the name, the password or a code is missing.
            if problem.status == 401 and "code" not in request and somebody_there():
                code = ask(word("ask_code_if_any", language)).replace(" ", "")
                if not code:
                    raise
                request["code"] = code
            elif problem.status == 403 and "new_password" not in request:
                note(word("initial_password", language))
                request["new_password"] = new_password(new_password_file, language)
            else:
                raise
        else:
            return dict(answer.document)


def _without_token(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in {"token", "schema"}}
