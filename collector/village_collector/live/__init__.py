"""Live voice: taken from a speaker, signed, sent to the agents and recorded."""
