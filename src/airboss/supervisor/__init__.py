"""Child processes: started, watched, restarted with back-off, and gone when their parent is."""
