"""A whole village on one machine, for people who want to see it and for tests that want it all to have happened."""
