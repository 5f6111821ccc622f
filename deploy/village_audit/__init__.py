"""Audit of what the system is built from: `deploy/check` runs it, without a network."""
