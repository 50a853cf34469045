"""AdapterShare itself: plans, gradients of all tasks, interference and differentiation."""
