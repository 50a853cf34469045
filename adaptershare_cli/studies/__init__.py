"""Many trainings under one question."""
