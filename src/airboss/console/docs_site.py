"""The documents as a static site: `python -m airboss.console.docs_site FOLDER`.

It opens from the disk as well as from any web server. What it lacks beside the console is the search.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airboss import __version__
from airboss.console.documents import INDEX, document, pictures, sources
from airboss.console.render import STATIC, Templates, Visit

FILES = ("console.css", "console.js", "favicon.svg")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def on_disk(name: str) -> str:
    """The address in the site."""
    return name if name.startswith("img/") else f"{name}.html"


def build(folder: Path) -> None:
    """Write the site into a folder, which is made where it is missing. Raises OSError."""
    templates = Templates({"static": lambda name: f"static/{name}"})
    seen = Visit(path="/", params={}, now=EPOCH, zone=UTC, zone_name="UTC", theme=None)
    for part in ("img", "static"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in sources():
        d = document(name, on_disk)
        page = templates.page("docs_site.html", seen, d=d, index=name == INDEX, version=__version__)
        (folder / on_disk(name)).write_text(page, encoding="utf-8")
    for name, path in pictures().items():
        (folder / "img" / name).write_bytes(path.read_bytes())
    for name in FILES:
        (folder / "static" / name).write_bytes((STATIC / name).read_bytes())


if __name__ == "__main__":
    build(Path(sys.argv[1]))
