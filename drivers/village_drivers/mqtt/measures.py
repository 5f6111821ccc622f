"""What Home Assistant's device classes and units mean in the wire's fields of kind `sensor`.

Source: Home Assistant developer documentation, "Sensor entity", device classes and their units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """A field of `village_wire.points` and how a raw value becomes its unit: `raw * factor + offset`."""

    field: str
    factor: float = 1.0
    offset: float = 0.0

    def convert(self, raw: float) -> float:
        """Return the value in the field's unit, rounded to hide what binary fractions add."""
        return round(raw * self.factor + self.offset, 6)


_PRESSURES: Mapping[str, tuple[float, float]] = {
    "hPa": (1, 0), "mbar": (1, 0), "Pa": (0.01, 0), "kPa": (10, 0), "bar": (1000, 0), "mmHg": (1.333224, 0),
    "inHg": (33.86389, 0), "psi": (68.94757, 0),
}  # fmt: skip
#: Device class -> field, and unit -> factor and offset. The first unit is meant where a device names none.
_CLASSES: Mapping[str, tuple[str, Mapping[str, tuple[float, float]]]] = {
    "temperature": ("temperature_c", {"°C": (1, 0), "C": (1, 0), "°F": (5 / 9, -160 / 9), "F": (5 / 9, -160 / 9), "K": (1, -273.15)}),
    "humidity": ("humidity_percent", {"%": (1, 0)}),
    "battery": ("battery_percent", {"%": (1, 0)}),
    "power": ("power_w", {"W": (1, 0), "kW": (1000, 0), "mW": (0.001, 0)}),
    "energy": ("energy_kwh", {"kWh": (1, 0), "Wh": (0.001, 0), "MWh": (1000, 0)}),
    "voltage": ("voltage_v", {"V": (1, 0), "mV": (0.001, 0)}),
    "current": ("current_a", {"A": (1, 0), "mA": (0.001, 0)}),
    "illuminance": ("illuminance_lx", {"lx": (1, 0), "lux": (1, 0)}),
    "pressure": ("pressure_hpa", _PRESSURES),
    "atmospheric_pressure": ("pressure_hpa", _PRESSURES),
    "carbon_dioxide": ("co2_ppm", {"ppm": (1, 0)}),
}  # fmt: skip
#: Zigbee's link quality has a unit and no class.
_LINK_QUALITY_UNIT = "lqi"


def measure_of(device_class: str, unit: str) -> Measure | None:
    """Return the measure of a sensor, or None for one that has no field on the wire."""
    if unit == _LINK_QUALITY_UNIT:
        return Measure("link_quality")
    known = _CLASSES.get(device_class)
    if known is None:
        return None
    field, units = known
    conversion = units.get(unit) if unit else (1, 0)
    return None if conversion is None else Measure(field, *conversion)
