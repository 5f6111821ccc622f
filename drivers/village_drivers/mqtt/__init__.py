"""Devices that speak MQTT themselves and announce themselves by Home Assistant discovery."""
