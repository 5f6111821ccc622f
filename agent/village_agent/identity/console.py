"""`village-agent enroll` and `village-agent identity`: what a person types, and what they read."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from village_agent.config import load, read_agent_table, state_folder
from village_agent.https import NotReached
from village_agent.identity import telling
from village_agent.identity.enrolment import Impostor, InvalidUrl, Refused, enrol
from village_agent.identity.folder import Identity, InvalidIdentity, read_identity
from village_agent.state_lock import AlreadyRunning, state_lock
from village_wire.enrolment import InvalidEnrolment, InvalidToken, read_token
from village_wire.settings import InvalidSettings

EXIT_FAILED, EXIT_USAGE, EXIT_CONFIGURATION, EXIT_RUNNING, EXIT_REFUSED = 1, 2, 3, 4, 5
#: Longer than any token.
_MAX_TOKEN = 200


class _End(Exception):
    """The command ends with an exit code and a reason."""

    def __init__(self, code: int, reason: str, advice: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.advice = dict(advice or {})


def run_enroll(url: str, token: str, config: Path | None, state_dir: Path | None, *, json_: bool) -> int:
    """Enrol this box, tell what came of it, and return the exit code."""
    try:
        folder = _folder(config, state_dir)
        identity = _enrol(url, _token(token), folder, json_=json_)
    except _End as end:
        return _say_end(end, json_=json_)
    following = _following(config)
    if json_:
        _print_json({**telling.describe(identity, datetime.now(UTC)), "next": following})
    else:
        _say(telling.enrolled(identity, folder))
        _say(following)
    return 0


def run_identity(config: Path | None, state_dir: Path | None, language: Literal["en", "zh"], *, json_: bool) -> int:
    """Show the identity and return the exit code."""
    try:
        folder = _folder(config, state_dir)
        try:
            identity = read_identity(folder)
        except InvalidIdentity as error:
            raise _End(EXIT_USAGE, str(error)) from None
        except PermissionError as error:
            raise _End(EXIT_USAGE, f"{error.filename}: {error.strerror}; run this as the agent's user") from None
        if identity is None:
            raise _End(EXIT_USAGE, f"this box is not enrolled: there is no identity in {folder}. 本机尚未注册。")
    except _End as end:
        return _say_end(end, json_=json_)
    document = telling.describe(identity, datetime.now(UTC))
    if json_:
        _print_json(document)
    else:
        _say(telling.text(identity, datetime.now(UTC), language))
    return {"ok": 0, "degraded": 1}.get(str(document["status"]), 2)


def _enrol(url: str, token: str, folder: Path, *, json_: bool) -> Identity:
    try:
        wanted = read_token(token)
    except InvalidToken as error:
        raise _End(EXIT_USAGE, str(error)) from None
    _become_owner(folder)
    try:
        with state_lock(folder):
            return enrol(url, wanted, folder, (lambda _: None) if json_ else _say_progress)
    except InvalidUrl as error:
        raise _End(EXIT_USAGE, str(error)) from None
    except AlreadyRunning as error:
        raise _End(
            EXIT_RUNNING, f"{error}; stop it first (systemctl stop village-agent), then start it again"
        ) from None
    except Refused as error:
        raise _End(EXIT_REFUSED, f"the collector refuses: {error}{_already(folder)}", error.advice) from None
    except Impostor as error:
        raise _End(EXIT_REFUSED, str(error)) from None
    except (NotReached, InvalidEnrolment, InvalidIdentity) as error:
        raise _End(
            EXIT_FAILED,
            f"{error}{'; perhaps it speaks https' if url.startswith('http:') else ''}\n"
            "Nothing changed; try again with the same token. 未更改，可用同一令牌重试。",
        ) from None
    except OSError as error:
        raise _End(EXIT_CONFIGURATION, f"{error.filename or folder}: {error.strerror}") from None


def _already(folder: Path) -> str:
    """Return who this box is already, for whom a token was used that is given once more."""
    try:
        identity = read_identity(folder)
    except (InvalidIdentity, OSError):
        return ""
    return (
        "" if identity is None else f"\nThis box is agent {identity.agent} already. 本机已注册为代理 {identity.agent}。"
    )


def _token(given: str) -> str:
    if given != "-":
        return given
    if sys.stdin.isatty():
        return getpass.getpass("Token 令牌: ")
    return sys.stdin.readline(_MAX_TOKEN + 1)


def _folder(config: Path | None, state_dir: Path | None) -> Path:
    if state_dir is not None:
        return state_dir.absolute()
    if config is not None:
        config = config.absolute()
        try:
            return state_folder(config, read_agent_table(config).state_dir)
        except InvalidSettings as error:
            raise _End(EXIT_CONFIGURATION, str(error)) from None
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not given:
        raise _End(
            EXIT_USAGE,
            "say where the agent's state is: --config FILE, or --state-dir /var/lib/village-agent under systemd",
        )
    return Path(given)


def _become_owner(folder: Path) -> None:
    """As root, write in the name of whom the state directory belongs to: the agent must be able to read it."""
    if os.geteuid() != 0 or not folder.exists():
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _following(config: Path | None) -> str:
    """Return what to do next, the problems of the configuration included."""
    start = "Next: systemctl enable --now village-agent, or village-agent run --config FILE. 下一步：启动代理。"
    if config is None:
        return start
    try:
        settings = load(config)
    except InvalidSettings as error:
        return f"{error}\nNext: correct the configuration, then start the agent. 下一步：修改配置后启动代理。"
    if settings.identity is None:
        return f"{config}: [collector] still says where the collector is and counts: remove all but keep_alive_seconds. 请删除 [collector] 中的其他键。"
    return start


def _say_end(end: _End, *, json_: bool) -> int:
    if json_:
        _print_json({"schema": telling.SCHEMA, "status": "failed", "reason": str(end), "advice": end.advice})
    else:
        print(end, file=sys.stderr)  # noqa: T201 - the answer to a person
        for text in end.advice.values():
            print(f"→ {text}", file=sys.stderr)  # noqa: T201 - the answer to a person
    return end.code


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the answer to a person


def _say_progress(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the answer to a person


def _print_json(document: Mapping[str, object]) -> None:
    _say(json.dumps(document, ensure_ascii=False, indent=2))
