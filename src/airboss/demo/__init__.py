"""`airboss demo`: the whole circle on generated traffic, told in the commands that a person would type."""
