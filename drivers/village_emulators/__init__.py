"""The far end of each driver's wire, for the demo, for training and for tests. Each module runs alone."""
