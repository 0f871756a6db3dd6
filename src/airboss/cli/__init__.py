"""One file per verb; `main` gathers them."""
