"""Rollouts: who gets the canary, what its outcomes show, and which step follows. Pure: no clock, no I/O."""
