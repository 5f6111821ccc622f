"""The time: reckoned from the boot, dated by the collector."""
