"""Mirrors `src/airboss/releases`."""
