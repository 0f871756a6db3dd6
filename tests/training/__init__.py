"""Training adapters here, as far as it goes without the extra."""
