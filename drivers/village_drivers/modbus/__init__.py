"""Modbus boards: relays, inputs and registers, over a serial line or TCP."""
