"""Mirrors `src/airboss/governance`."""
