"""Datasets, scorers, and the comparison of two releases paired by item."""
