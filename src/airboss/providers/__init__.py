"""Who can be asked for an answer, and how each is spoken to."""
