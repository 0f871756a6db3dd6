"""`python -m airboss`, the same as `airboss`."""

from airboss.cli.main import main

if __name__ == "__main__":
    main()
