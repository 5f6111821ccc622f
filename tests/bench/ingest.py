"""Rows `ingest` and `ingest_influx`: the same messages from the same broker into the same place, in turn by Telegraf and by the collector.

CPU is user and system time of the consumer's process with all its threads, from the first message until the last line has
arrived; those of broker, publisher and destination are not in it. The collector subscribes to telemetry at QoS 0, because its
acknowledgements go from end to end, and answers for every message; Telegraf is given QoS 1, the way not to lose any, and MQTT 3.1.1, the
cheaper one for it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.bench.lines_publisher import AGENTS
from tests.bench.machine import find_program
from tests.bench.rig import UNLIMITED, Usage
from tests.bench.rows import NotMeasured, Say
from tests.peers import free_port
from tests.peers.influx import BUCKET, ORGANISATION, TOKEN, influx_server

#: Lines of a message -> messages of a run.
FULL: Mapping[int, int] = {100: 10_000, 10: 50_000}
QUICK: Mapping[int, int] = {100: 1_000, 10: 5_000}
_RUNS = 3
#: Enough for connections, caches and just-in-time work of both consumers.
_WARM_MESSAGES = 200
_DEADLINE_SECONDS = 180.0
_POLL_SECONDS = 0.02


class Destination(Protocol):
    """Where lines go. Says how many arrived."""

    url: str
    #: Its own process, where its CPU is a figure; None for the stand-in.
    usage: Usage | None

    def lines(self) -> int:
        """Lines that arrived since the start."""


@dataclass(frozen=True, slots=True)
class Run:
    """One consumer, one run."""

    cpu_s: float
    seconds: float
    rss_mb: float
    destination_cpu_s: float
    #: Ack messages of the collector; 0 for Telegraf, which sends none.
    answers: int


@contextmanager
def _telegraf(folder: Path, broker: int, destination: Destination) -> Iterator[int]:
    config = folder / "telegraf.conf"
    config.write_text(
        f"""
[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  omit_hostname = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{broker}"]
  topics = ["village/1/agent/+/telemetry"]
  topic_tag = ""
  qos = 1
  client_id = "telegraf"
  max_undelivered_messages = 5000
  data_format = "influx"
[[outputs.influxdb_v2]]
  urls = ["{destination.url}"]
  token = "{TOKEN}"
  organization = "{ORGANISATION}"
  bucket = {json.dumps(BUCKET)}
  content_encoding = "gzip"
"""
    )
    with _program([_needed("telegraf"), "--config", config, "--quiet"], folder / "telegraf.log") as process:
        yield process.pid


@contextmanager
def _collector(folder: Path, broker: int, destination: Destination) -> Iterator[int]:
    (folder / "token").write_text(TOKEN)
    config = folder / "collector.toml"
    config.write_text(
        f"""
[collector]
data_dir = "data"
[broker]
url = "mqtt://127.0.0.1:{broker}"
[api]
port = 0
tls = false
[telemetry]
store = "influx"
url = "{destination.url}"
organisation = "{ORGANISATION}"
bucket = {json.dumps(BUCKET)}
token_file = "token"
"""
    )
    command = [sys.executable, "-m", "village_collector.cli", "run", "--config", str(config)]
    with _program(command, folder / "collector.log") as process:
        yield process.pid


Consumer = Callable[[Path, int, Destination], Any]
_CONSUMERS: Mapping[str, Consumer] = {"telegraf": _telegraf, "collector": _collector}


class _Sink:
    usage: Usage | None = None

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def lines(self) -> int:
        with urllib.request.urlopen(f"{self.url}/count", timeout=10) as answer:  # noqa: S310 - loopback
            return int(json.load(answer)["lines"])


class _Influx:
    def __init__(self, url: str, usage: Usage) -> None:
        self.url = url
        self.usage: Usage | None = usage

    def lines(self) -> int:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:  # noqa: S310 - loopback
            for line in answer:
                if line.startswith(b"storage_writer_ok_points_sum"):
                    return int(float(line.split()[-1]))
        return 0


@contextmanager
def _sink(folder: Path) -> Iterator[Destination]:
    with _program([sys.executable, "-m", "tests.bench.line_sink"], folder / "sink.log", pipe=True) as process:
        yield _Sink(int(_line(process)))


@contextmanager
def _influx(folder: Path) -> Iterator[Destination]:
    _needed("influxd")
    (folder / "influx").mkdir()
    with influx_server(folder / "influx") as server:
        yield _Influx(server.url, Usage(server.process.pid))


def into_sink(quick: bool, say: Say) -> dict[str, Any]:
    """Measure row `ingest`; see the module."""
    return _measure(_sink, QUICK if quick else FULL, 1 if quick else _RUNS, say)


def into_influx(quick: bool, say: Say) -> dict[str, Any]:
    """Measure row `ingest_influx`; see the module."""
    return _measure(_influx, QUICK if quick else FULL, 1 if quick else _RUNS, say)


def _measure(destination: Callable[[Path], Any], sizes: Mapping[int, int], runs: int, say: Say) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="village-bench-")))
        place = stack.enter_context(destination(folder))
        broker = stack.enter_context(_mosquitto(folder))
        publisher = stack.enter_context(
            _program([sys.executable, "-m", "tests.bench.lines_publisher"], folder / "publisher.log", pipe=True)
        )
        for lines, messages in sizes.items():
            measured: dict[str, list[Run]] = {name: [] for name in _CONSUMERS}
            for number in range(runs):
                for name in _CONSUMERS:
                    with tempfile.TemporaryDirectory(dir=folder) as own:
                        run = _run(name, Path(own), broker, place, publisher, lines, messages)
                    measured[name].append(run)
                    say(
                        f"{lines} lines a message, run {number + 1}, {name}: {run.cpu_s / lines / messages * 1e6:.2f} CPU-s"
                        f" per million lines, {lines * messages / run.seconds:,.0f} lines/s, {run.rss_mb:.0f} MB"
                    )
            result[str(lines)] = _figures(measured, lines, messages)
    return result


def _figures(measured: Mapping[str, Sequence[Run]], lines: int, messages: int) -> dict[str, Any]:
    total = lines * messages
    own, other = (_consumer_figures(measured[name], total) for name in ("collector", "telegraf"))
    ratio = own["cpu_s_per_million"] / other["cpu_s_per_million"]
    return {
        "ratio_cpu_to_telegraf": round(ratio, 3),
        **own,
        "messages_per_ack": round(messages / statistics.median(run.answers for run in measured["collector"]), 1),
        "telegraf": other,
        "messages": messages,
        "agents": AGENTS,
        "runs": len(measured["collector"]),
    }


def _consumer_figures(runs: Sequence[Run], total: int) -> dict[str, Any]:
    cpu = [round(run.cpu_s / total * 1e6, 3) for run in runs]
    figures = {
        "cpu_s_per_million": statistics.median(cpu),
        "cpu_s_per_million_range": [min(cpu), max(cpu)],
        "lines_per_s": round(statistics.median(total / run.seconds for run in runs)),
        "rss_mb": round(statistics.median(run.rss_mb for run in runs), 1),
    }
    if any(run.destination_cpu_s for run in runs):
        spent = statistics.median(run.destination_cpu_s for run in runs)
        figures["influxd_cpu_s_per_million"] = round(spent / total * 1e6, 3)
    return figures


def _run(
    name: str,
    folder: Path,
    broker: int,
    place: Destination,
    publisher: subprocess.Popen[str],
    lines: int,
    messages: int,
) -> Run:
    with _CONSUMERS[name](folder, broker, place) as pid:
        _warm(place, publisher, broker, lines)
        _ask(publisher, broker, messages, lines, acks=name == "collector")
        before = place.lines()
        usage = Usage(pid)
        if place.usage:
            place.usage.lap()
        started = time.monotonic()
        _say_line(publisher, "")
        _wait_for(place, before + lines * messages, publisher)
        seconds = time.monotonic() - started
        outcome = json.loads(_line(publisher))
        # Acks leave after the lines have arrived; they are the collector's work too.
        cpu = usage.lap()
        if name == "collector" and outcome["stored"] != messages:
            raise NotMeasured(f"the collector acknowledged {outcome['stored']} of {messages} messages")
        return Run(cpu, seconds, usage.peak_rss_mb(), place.usage.lap() if place.usage else 0.0, outcome["answers"])


def _warm(place: Destination, publisher: subprocess.Popen[str], broker: int, lines: int) -> None:
    before, deadline = place.lines(), time.monotonic() + 30
    while place.lines() == before:
        if time.monotonic() > deadline:
            raise NotMeasured("the consumer took no message within 30 s")
        _ask(publisher, broker, _WARM_MESSAGES, lines, acks=False)
        _say_line(publisher, "")
        _line(publisher)
        time.sleep(0.3)
    settled = -1
    while settled != place.lines():
        settled = place.lines()
        time.sleep(1.5)


def _ask(publisher: subprocess.Popen[str], broker: int, messages: int, lines: int, *, acks: bool) -> None:
    # Times end now, so that no store finds them in the future; runs overlap, which no consumer sees.
    first = time.time_ns() - messages * lines * 1_000_000
    _say_line(
        publisher,
        json.dumps({"port": broker, "messages": messages, "lines": lines, "first_ns": first, "acks": acks}),
    )
    if _line(publisher) != "ready":
        raise NotMeasured("the publisher ended")


def _wait_for(place: Destination, count: int, publisher: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while (arrived := place.lines()) < count:
        if time.monotonic() > deadline or publisher.poll() is not None:
            raise NotMeasured(f"{count - arrived} lines did not arrive within {_DEADLINE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


@contextmanager
def _mosquitto(folder: Path) -> Iterator[int]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{UNLIMITED}")
    with _program([_needed("mosquitto"), "-c", config], folder / "mosquitto.log"):
        time.sleep(0.5)
        yield port


@contextmanager
def _program(command: Sequence[str | Path], log: Path, *, pipe: bool = False) -> Iterator[subprocess.Popen[str]]:
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe else errors,
            stderr=errors,
            text=True,
            cwd=log.parent if not pipe else None,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _needed(name: str) -> Path:
    program = find_program(name)
    if program is None:
        raise NotMeasured(f"{name} is absent: put it on PATH or into the folder that VILLAGE_PEERS names")
    return program


def _say_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
