"""Benchmarks: `deploy/bench` measures them, next to a peer wherever there is one, in the same run."""
