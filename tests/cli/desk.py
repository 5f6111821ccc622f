"""The desk of a user: a configuration folder, a password in a file, and the program on pipes or on a terminal."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.cli.collector import Village
from tests.cli.terminal import Terminal, on_terminal

NAMES = ("localhost", "127.0.0.1")
PASSWORD = "eine Brücke nach Dongguan"


class Desk:
    """Runs the program without VILLAGE_URL, so that it asks what was logged in to."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.file = self.config / "village" / "credentials.json"
        self.password = folder / "password.txt"
        self.password.write_text(f"{PASSWORD}\n")
        self.more = {"XDG_CONFIG_HOME": str(self.config)}

    def run(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run to the end on pipes."""
        return Village("")(*words, stdin=stdin, more={**self.more, **more})

    def terminal(self, *words: str, **more: str) -> AbstractContextManager[Terminal]:
        """Run on a terminal."""
        return on_terminal("", *words, more={**self.more, **more})

    def login(self, url: str, *words: str, person: str = "li") -> subprocess.CompletedProcess[str]:
        """Log in as a program does."""
        return self.run("login", person, "--url", url, "--password-file", str(self.password), *words)

    def kept(self) -> dict[str, Any]:
        """What the file of credentials holds."""
        document: dict[str, Any] = json.loads(self.file.read_text())
        return document
