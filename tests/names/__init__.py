"""Names found by the real model; `make test-names` runs these in an environment that has it."""
