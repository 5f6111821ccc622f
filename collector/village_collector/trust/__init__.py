"""Keys and certificates: the collector's own authority, the keys that sign commands, and the enrolment of agents."""
