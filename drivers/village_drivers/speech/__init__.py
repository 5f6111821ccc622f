"""Speech chips on a serial line: they get text and speak it themselves."""
