"""The data path: every request crosses it, top to bottom in `pipeline`."""
