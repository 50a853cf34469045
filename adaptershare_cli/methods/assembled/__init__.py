"""What methods have in common whose runs are put together from trainings of some of the tasks; no method itself."""
