"""The composition root: the only room that names technology modules.

Each role loads what it needs and no more, inside its own function: a gateway without DuckDB and Starlette
stays small, and `airboss version` is quick.
"""
