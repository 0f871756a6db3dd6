"""Mirrors `src/airboss/config`."""
