"""One loop for all methods: schedule, optimizer, checkpoint, evaluation."""
