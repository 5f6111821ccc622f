"""OSDP (IEC 60839-11-5) door readers: several on one RS-485 bus, over a secure channel."""
