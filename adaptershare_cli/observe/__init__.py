"""The gradients of all tasks in one pass, and what a step on one task does for the others."""
