"""What `village login` keeps in the user's configuration folder: of each collector the authority that signs for it, and the session.

One file, readable by its owner only; a change replaces it as a whole. The authority stays when the session ends, as a known host does.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from village_cli.failures import Failure
from village_wire.language import Bilingual

#: A hundred collectors with authorities of 1 kB each; a longer file is not ours.
MAX_FILE_BYTES = 1024 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


class CredentialsUnusable(Failure):
    """The file of credentials can't be trusted, read or written."""


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept of one collector: `authority` as PEM ("" is the system's store), `expires` in RFC 3339; a logout empties token and expiry.

    `second_factor` tells whether the person's last login needed a code.
    """

    authority: str = ""
    token: str = ""
    person: str = ""
    expires: str = ""
    second_factor: bool = False

    def __repr__(self) -> str:
        return f"Login(person={self.person!r}, expires={self.expires!r})"


class Credentials:
    """The file. Methods raise `CredentialsUnusable`; an absent file is an empty one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "credentials.json"

    def of(self, url: str) -> Login | None:
        """Return what is kept of a collector, None for one that nobody logged in to."""
        found = self._read()["collectors"].get(normal(url))
        return _login(found) if isinstance(found, dict) else None

    def last(self) -> str | None:
        """Return the address that was last logged in to."""
        url = self._read().get("last")
        return url if isinstance(url, str) and url else None

    def keep(self, url: str, login: Login) -> None:
        """Keep what is known of a collector and make it the one that is asked without `--url`."""
        with self._changing() as document:
            document["collectors"][normal(url)] = asdict(login)
            document["last"] = normal(url)

    def end_session(self, url: str) -> None:
        """Forget the token of a collector; its authority stays known."""
        with self._changing() as document:
            found = document["collectors"].get(normal(url))
            if isinstance(found, dict):
                document["collectors"][normal(url)] = asdict(replace(_login(found), token="", expires=""))

    def forget(self, url: str) -> None:
        """Forget all of a collector."""
        with self._changing() as document:
            document["collectors"].pop(normal(url), None)
            if document.get("last") == normal(url):
                document["last"] = None

    def _read(self) -> dict[str, Any]:
        try:
            # Whoever may write the folder can put another file in this one's place.
            _refuse_foreign(self.folder, self.folder.stat(), 0o022)
            with _open(self.file, os.O_RDONLY) as file:
                _refuse_foreign(self.file, os.fstat(file.fileno()), 0o077)
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return {"last": None, "collectors": {}}
        except OSError as error:
            raise _unusable(self.file, error) from None
        try:
            document = json.loads(content) if len(content) <= MAX_FILE_BYTES else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("collectors"), dict):
            raise CredentialsUnusable(
                Bilingual(f"{self.file} is damaged.", f"{self.file} 已损坏。"),
                Bilingual("Remove it, then `village login`.", "请删除该文件，然后运行 village login。"),
            )
        return document

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Held until the file is replaced, so that two logins at once both stay.
            with _open(self.folder / "lock", os.O_WRONLY | os.O_CREAT) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                document = self._read()
                yield document
                self._write(document)
        except OSError as error:
            raise _unusable(self.file, error) from None

    def _write(self, document: Mapping[str, Any]) -> None:
        # One name: what a kill leaves behind is overwritten by the next, not gathered.
        new = self.folder / "credentials.json.new"
        new.unlink(missing_ok=True)
        with _open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            file.write(json.dumps(document, indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.file)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def default_folder(environment: Mapping[str, str]) -> Path:
    """Return `$XDG_CONFIG_HOME/village`, else `~/.config/village`; raises `CredentialsUnusable` for a user without a home."""
    configured = environment.get("XDG_CONFIG_HOME", "")
    # The specification wants a relative one ignored.
    if configured.startswith("/"):
        return Path(configured) / "village"
    try:
        return Path.home() / ".config" / "village"
    except RuntimeError:
        raise CredentialsUnusable(
            Bilingual("This user has no home folder for credentials.", "当前用户没有可存放凭据的主目录。"),
            Bilingual(
                "Set XDG_CONFIG_HOME, or VILLAGE_TOKEN and VILLAGE_CA.",
                "请设置 XDG_CONFIG_HOME，或设置 VILLAGE_TOKEN 和 VILLAGE_CA。",
            ),
        ) from None


def normal(url: str) -> str:
    """Return an address so that each collector has one: lower case, no default port, no slash at the end; another text unchanged."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return url
    if not host:
        return url
    name = f"[{host}]" if ":" in host else host
    shown = "" if port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{port}"
    return f"{parts.scheme}://{name}{shown}{parts.path.rstrip('/')}"


def _login(found: Mapping[str, Any]) -> Login:
    names = ("authority", "token", "person", "expires")
    texts = {name: found[name] for name in names if isinstance(found.get(name), str)}
    return Login(**texts, second_factor=found.get("second_factor") is True)


def _open(path: Path, flags: int) -> BinaryIO:
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "wb")


def _refuse_foreign(path: Path, found: os.stat_result, forbidden: int) -> None:
    mode = found.st_mode & 0o777
    if found.st_uid != os.geteuid():
        raise CredentialsUnusable(
            Bilingual(f"{path} belongs to another user.", f"{path} 属于其他用户。"),
            Bilingual(
                "Remove it, or set XDG_CONFIG_HOME to a folder of yours.",
                "请删除它，或将 XDG_CONFIG_HOME 设为自己的目录。",
            ),
        )
    if mode & forbidden:
        wanted = "700" if forbidden == 0o022 else "600"
        raise CredentialsUnusable(
            Bilingual(
                f"{path} is open to other users (mode {mode:03o}).", f"{path} 对其他用户开放（权限 {mode:03o}）。"
            ),
            Bilingual(
                f"Close it with `chmod {wanted} {path}`; if others may have read it, `village logout` and log in again.",
                f"请运行 chmod {wanted} {path}；若可能已被他人读取，请先 village logout 再重新登录。",
            ),
        )


def _unusable(path: Path, error: OSError) -> CredentialsUnusable:
    reason = "it is a symbolic link" if error.errno == errno.ELOOP else (error.strerror or str(error))
    return CredentialsUnusable(
        Bilingual(f"{path} can't be used: {reason}.", f"无法使用 {path}：{reason}。"),
        Bilingual(
            "Mend that, or set XDG_CONFIG_HOME to another folder.", "请修复，或将 XDG_CONFIG_HOME 设为其他目录。"
        ),
        reason=reason,
    )
