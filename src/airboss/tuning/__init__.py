"""Tuning: search for a better prompt under a budget of calls, and judge what was found once."""
