"""What can be measured, and what is to be reached. Modules are imported when their row is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Say = Callable[[str], None]
#: `quick` measures in seconds what otherwise takes minutes; its figures are rough. Raises `NotMeasured`.
Measure = Callable[[bool, Say], dict[str, Any]]


class NotMeasured(Exception):
    """The row can't be measured here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """The figure at `path` (keys of the row's result, joined by dots) is to be at most, or at least, `limit`."""

    path: str
    limit: float
    meaning: str
    at_least: bool = False

    def met_by(self, figure: float) -> bool:
        """Whether the figure reaches the target."""
        return figure >= self.limit if self.at_least else figure <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the report: where its function is, what it measures, and its targets."""

    module: str
    function: str
    what: str
    targets: tuple[Target, ...] = ()

    def measure(self) -> Measure:
        """Import the row's module and return its function."""
        function: Measure = getattr(import_module(f"tests.bench.{self.module}"), self.function)
        return function


#: In the order of the report. Names are keys of the JSON.
ROWS: Mapping[str, Row] = {
    "ingest": Row(
        "ingest",
        "into_sink",
        "Telemetry from mosquitto into a sink that counts lines: the collector, with acks, beside Telegraf",
        (
            Target("100.ratio_cpu_to_telegraf", 0.5, "CPU at 100 lines a message, in Telegrafs"),
            Target("10.ratio_cpu_to_telegraf", 1.0, "CPU at 10 lines a message, in Telegrafs"),
        ),
    ),
    "ingest_influx": Row("ingest", "into_influx", "The same into a real InfluxDB", ()),
    "store": Row(
        "store",
        "measure",
        "The embedded store: samples a second in, and reads; health of 1,000 agents with 10 devices each",
        (
            Target("write.samples_per_s", 60_000, "samples stored a second", at_least=True),
            Target("health.seconds", 0.5, "seconds for `health` over 1,000 agents x 10 devices"),
        ),
    ),
    "agents": Row(
        "agents",
        "run",
        "Thousands of agents on real connections: idle, and back together after a power cut with an hour of work each",
        (
            Target("10000.stored.missing", 0, "values and events missing after 10,000 agents came back"),
            Target("1000.stored.missing", 0, "values and events missing after 1,000 agents came back"),
        ),
    ),
    "fanout": Row(
        "fanout",
        "run",
        "One command to an area of 10,000 agents, beside a bare publisher at the same broker",
        (Target("ratio", 1.5, "time until the last agent has it, in raw fan-outs"),),
    ),
    "loudspeaker": Row(
        "loudspeaker",
        "run",
        "Recorded sound: an emergency over a file, eight loudspeakers that begin together, live voice; and a thousand agents' receipts",
        (
            Target(
                "preempt_s", 0.3, "seconds from the command at the broker to the emergency's first sample, at worst"
            ),
            Target("resume_error_s", 0.05, "seconds by which the file went on elsewhere, at worst"),
            Target("skew_p99_s", 0.02, "seconds between the first and the last of eight outputs of two agents, p99"),
            Target("live_latency_s", 0.6, "seconds from mouth to ear at 2 % loss and 80 ms jitter"),
        ),
    ),
    "agent": Row(
        "agent_footprint",
        "run",
        "The agent with two readers, two loudspeakers and two cameras, beside an idle Telegraf",
        (
            Target("agent.rss_mb", 50, "memory of the agent in MB"),
            Target("agent.cpu_percent", 2, "CPU of the agent, idle, in % of a core"),
        ),
    ),
    "traffic": Row(
        "traffic",
        "run",
        "Bytes on the wire of that agent, idle at default settings, scaled to a month",
        (
            Target("month.ip_mb", 10, "MB a month, IP and TCP headers included"),
            Target("month.ip_tls_mb", 10, "MB a month, TLS included too"),
        ),
    ),
}
