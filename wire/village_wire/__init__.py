"""What agent and collector must agree on: addresses, messages and the MQTT session that carries them."""

__version__ = "0.1.0"
