"""Drivers: one file or folder per device protocol. They know no MQTT session, no agent and no collector."""
