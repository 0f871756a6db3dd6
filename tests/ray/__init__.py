"""Engines on a Ray cluster; `make test-ray` runs these in an environment that has Ray."""
