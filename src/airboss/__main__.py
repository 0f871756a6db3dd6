"""`python -m airboss`, the same as `airboss`."""

from airboss.cli.main import process

if __name__ == "__main__":
    process()
