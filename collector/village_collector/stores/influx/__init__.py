"""Telemetry in InfluxDB 2: the store, its set-up and its inspection."""

from village_collector.stores.influx.rest import InfluxAddress
from village_collector.stores.influx.store import InfluxStore

__all__ = ["InfluxAddress", "InfluxStore"]
