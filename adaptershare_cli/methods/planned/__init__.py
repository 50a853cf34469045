"""What the methods that train under a sharing plan have in common; no method itself."""
