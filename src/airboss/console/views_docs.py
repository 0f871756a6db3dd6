"""The documentation: the index, one page for each document, and what is found in all of them."""

from __future__ import annotations

from airboss import __version__
from airboss.console.desk import Desk
from airboss.console.documents import INDEX, document, in_console, pictures
from airboss.console.documents_search import TEXT_MAX, find
from airboss.console.page import Page, View
from airboss.console.render import Visit
from airboss.domain.errors import NotFound

PICTURE = "/docs/img/{name}"


def index(_desk: Desk, seen: Visit) -> View:
    """What there is; or where the words stand that are looked for."""
    text = seen.params.get("text", "").strip()
    if not text:
        return View("docs.html", d=document(INDEX), index=True, version=__version__, text_max=TEXT_MAX)
    places, more = find(text)
    return View("docs_found.html", text=text, places=places, more=more, to=in_console, text_max=TEXT_MAX)


def page(_desk: Desk, seen: Visit) -> View:
    """One document."""
    name = seen.parts["name"]
    d = document(name)
    return View("docs.html", d=d, index=name == INDEX, version=__version__, text_max=TEXT_MAX)


def picture(name: str) -> bytes:
    """A picture of a document. Raises NotFound."""
    found = pictures().get(name)
    if found is None:
        raise NotFound(f"no document has a picture {name[:200]!r}")
    return found.read_bytes()


PAGES: tuple[Page, ...] = (
    Page(path="/docs", draw=index, params=("text",), role="viewer", room="docs"),
    Page(path="/docs/{name}", draw=page, role="viewer", room="docs"),
)
"""The pages of this module. They hold no secret, but stand behind the login as all else does: they say which
version runs here."""
