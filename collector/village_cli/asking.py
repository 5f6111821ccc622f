"""Questions to a person at the terminal. Without a terminal nobody is asked: `Failure` says what to give instead."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from village_cli.failures import USAGE, Failure
from village_cli.safety import safe
from village_cli.text import word
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from pathlib import Path

#: Longer than any password; what is longer is the wrong file.
MAX_SECRET_BYTES = 4096


class NobodyToAsk(Failure):
    """An answer is needed and standard input is no terminal; `advice` says how a program gives it."""

    def __init__(self, what: Bilingual, advice: Bilingual) -> None:
        super().__init__(
            Bilingual(
                f"{what.en} is needed, and there is no terminal to ask on.", f"需要{what.zh}，但没有可供询问的终端。"
            ),
            advice,
            exit_code=USAGE,
        )


def somebody_there() -> bool:
    """Tell whether a person can answer."""
    return sys.stdin.isatty()


def ask(question: str) -> str:
    """Ask on standard error, which a pipe leaves on the terminal; the end of input is no answer: ""."""
    sys.stderr.write(f"{safe(question)} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def ask_secret(question: str) -> str:
    """Ask without showing what is typed."""
    import getpass

    try:
        return getpass.getpass(f"{safe(question)} ", stream=None)
    except EOFError:
        return ""


def ask_code(language: Language) -> str:
    """Ask for the code of an authenticator; raises `Failure` if there is none."""
    code = ask(word("ask_code", language)).replace(" ", "")
    if not code:
        raise Failure(Bilingual("No code was given; nothing was changed.", "未输入验证码，未做更改。"))
    return code


def agreed(question: str, language: Language) -> bool:
    """Ask a question that only a typed `yes` (or `y`, `是`) answers with yes."""
    return ask(f"{question} [{word('yes', language)}/{word('no', language)}]").casefold() in {"y", "yes", "是"}


def confirm(question: str, language: Language, *, yes: bool) -> None:
    """Return if a person agrees; `--yes`, and a program, have decided already. Raises `Failure` if they don't agree."""
    if not yes and somebody_there() and not agreed(question, language):
        raise Failure(Bilingual("Nothing was changed.", "未做任何更改。"))


def read_secret(file: Path) -> str:
    """Return the first line of a file (`-` is standard input); raises `Failure`."""
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            content = source.read(MAX_SECRET_BYTES + 1)
        secret = content.decode().partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise Failure(
            Bilingual(f"{file} can't be read: {error.strerror}.", f"无法读取 {file}：{error.strerror}。"),
            exit_code=USAGE,
            reason=error.strerror or "",
        ) from None
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(content) > MAX_SECRET_BYTES:
        raise Failure(
            Bilingual(f"{file} does not begin with a line that holds a password.", f"{file} 的第一行不是密码。"),
            exit_code=USAGE,
        )
    return secret
