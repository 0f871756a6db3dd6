"""What an answer is worth, one file a family; `spec` makes scorers from their names or tables."""
