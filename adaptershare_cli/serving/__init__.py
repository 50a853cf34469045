"""What was trained, in use: a run's tasks answer rows that nobody has labelled. Values in, values out."""
