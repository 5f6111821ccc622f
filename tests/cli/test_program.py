from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from tests.cli.canned import DEVICES, row
from tests.cli.collector import PROGRAM, ROOT, Collector, Reply, Village, environment
from village_cli.main import app


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


ALL = dict(commands(get_command(app)))
EXAMPLES = [line.strip() for command in ALL.values() for line in (command.epilog or "").splitlines()[2:]]
LEAVES = [words for words, command in ALL.items() if not hasattr(command, "commands")]


def parse(line: str) -> None:
    # As the program does it, up to the call of the command.
    words = shlex.split(re.split(" [<>|] ", line)[0])[1:]
    command: Any = get_command(app)
    context = command.make_context("village", words)
    while hasattr(command, "commands"):
        words = [*context._protected_args, *context.args]
        _, command, words = command.resolve_command(context, words)
        context = command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("words", list(ALL), ids=" ".join)
def test_help_is_in_both_languages_and_has_examples(words: tuple[str, ...], village: Village) -> None:
    run = village(*words, "--help")
    assert run.returncode == 0
    assert re.search("[\u4e00-\u9fff]", run.stdout)
    assert run.stdout.startswith(f"Usage: village {' '.join(words)}".rstrip())
    if words in LEAVES:
        assert f"village {' '.join(words)}" in run.stdout.partition("Examples 示例:")[2]


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_is_valid(line: str) -> None:
    parse(line)


def test_every_command_line_of_the_readme_is_valid() -> None:
    lines = re.findall(r"^village .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    for line in lines:
        parse(line.partition(" #")[0])


def test_an_example_that_is_not_valid_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse("village health --nonsense")


@pytest.mark.parametrize("words", list(ALL), ids=" ".join)
def test_every_option_and_argument_is_described_in_both_languages(words: tuple[str, ...]) -> None:
    for parameter in ALL[words].params:
        if parameter.name not in {"help", "install_completion", "show_completion"}:
            assert re.search("[a-z].*[\u4e00-\u9fff]", parameter.help or ""), parameter.name


def test_help_takes_less_than_a_fifth_of_a_second(village: Village) -> None:
    def once() -> float:
        before = os.times()
        assert village("--help").returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Processor time, because the machine of the tests has other work.
    assert min(once() for _ in range(5)) < 0.2


def test_help_loads_no_heavy_module() -> None:
    code = "import sys, village_cli.main; print(sorted({'httpx', 'rich', 'plotext', 'pydantic', 'asyncio'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert run.stdout == "[]\n"


def test_the_version(village: Village) -> None:
    assert re.fullmatch(r"village \d+\.\d+\.\d+.*\n", village("--version").stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("words", [["health"], ["devices"], ["command", "gate-1", "stop"], ["events", "--follow"]])
def test_a_collector_that_is_down(words: list[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    run = Village(url)(*words)
    assert run.returncode == 3
    assert run.stdout == ""
    assert run.stderr == (
        f"village: No collector answers at {url}: connection refused."
        " Start it (village-collector run) or give its address with --url or VILLAGE_URL.\n"
    )
    chinese = Village(url)("--lang", "zh", *words).stderr
    assert chinese.startswith(f"village: 采集端 {url} 无应答：连接被拒绝。")
    document = json.loads(Village(url)(*words, "--json").stderr)
    assert document["schema"] == "village.problem/1"
    assert document["advice"]["zh"].startswith("请启动采集端")


def test_a_collector_that_is_down_is_one_line_for_nagios() -> None:
    run = Village(f"http://127.0.0.1:{free_port()}")("health", "--nagios")
    assert run.returncode == 3
    assert run.stdout.startswith("VILLAGE UNKNOWN - No collector answers at")
    assert run.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x", "http://", "http://[::1", "http://x:99999999", "http://\x1b[31m"]
)
def test_an_address_that_is_none(url: str) -> None:
    run = Village("")("--url", url, "devices")
    assert run.returncode == 3
    assert "Traceback" not in run.stderr
    assert "\x1b" not in run.stderr


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>", 200, "text/html"),
        Reply(b"[]"),
        Reply(b'{"schema": "village.devices/2"}'),
        Reply(b"\xff"),
        Reply(b"[" * 100_000),
        Reply(b"", 204),
        Reply(b"moved", 302, "text/plain"),
        Reply(b"no", 404, "text/html"),
        Reply(b"{", 500, "application/problem+json"),
    ],
)
def test_what_is_no_collector(collector: Collector, village: Village, reply: Reply) -> None:
    collector.gives("GET", "/devices", reply)
    run = village("devices")
    assert run.returncode == 3
    assert run.stderr.startswith(f"village: What answers at {collector.url} is no collector of this version:")
    assert run.stderr.count("\n") == 1


def test_a_proxy_is_not_asked_for_a_collector_on_this_machine(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices", DEVICES)
    assert (
        village("devices", more={"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}).returncode
        == 0
    )


def test_the_address_before_the_command_wins(collector: Collector) -> None:
    collector.answers("GET", "/devices", DEVICES)
    assert Village("http://127.0.0.1:9")("--url", f"{collector.url}/", "devices").returncode == 0


def test_a_reader_that_goes_away_is_quiet(collector: Collector) -> None:
    many = {
        **DEVICES,
        "devices": [row("gate-1", f"device-{number}", abilities=[], firmware="") for number in range(5000)],
    }
    collector.answers("GET", "/devices", many)
    for words in (["devices"], ["devices", "--json"]):
        process = subprocess.Popen(
            [*PROGRAM, *words],
            env=environment(collector.url),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        with process.stderr as errors:
            assert errors.read() == b""
        assert process.wait(timeout=20) == 141


def test_signs_that_the_output_can_not_hold_are_replaced(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/devices", {**DEVICES, "devices": [row("gate-1", "x", name="村口")]})
    run = village("devices", more={"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 0
    assert "??" in run.stdout
