"""Training adapters here, with the extra."""
