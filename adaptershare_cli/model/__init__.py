"""The frozen encoder, its adapters and the task heads; the only part that imports `adapters`."""
