"""The steps of a round by subject. Each returns what it saw, and raises `StepFailed` when it was not what should have happened."""
