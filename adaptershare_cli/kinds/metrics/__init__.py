"""The metrics that kinds of task are scored by: a metric is a class with its name."""
