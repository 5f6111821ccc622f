"""The HTTP API: one router per topic, put together in `app`."""
