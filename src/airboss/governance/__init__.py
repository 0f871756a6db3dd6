"""Who may call, and what may be kept: keys, secrets and redaction. Nothing here does I/O."""
