"""The documents of this version, made ready to be shown: Markdown as HTML, with a table of what is in it.

They lie in `manual/`, which holds links to the repository's own files: a wheel has the files themselves.
The console and the static site (`docs_site`) differ in nothing but the addresses that links get.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from markupsafe import Markup

from airboss.domain.errors import NotFound

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MANUAL = Path(__file__).parent / "manual"
INDEX = "index"
KEPT = 32
"""Documents that are kept as HTML, of each kind of address; there are fewer."""

Address = Callable[[str], str]
"""Where a document is shown, by its name, or a picture, by `img/` and its name."""


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """A heading below the title: `level` is 2 to 6, `anchor` what GitHub makes of it."""

    level: int
    title: str
    anchor: str


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under one heading, without its mark-up, up to the next of any level. The first one of a
    document stands under its title."""

    title: str
    anchor: str
    text: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One document. `anchor` is that of its title, which `html` leaves out: the page has it in its head."""

    name: str
    title: str
    anchor: str
    html: Markup
    headings: tuple[Heading, ...]
    sections: tuple[Section, ...]


@cache
def sources() -> dict[str, str]:
    """The path of each document in the repository, by the name that addresses have."""
    paths = [path.relative_to(MANUAL).as_posix() for path in sorted(MANUAL.rglob("*.md"))]
    return {posixpath.basename(path).removesuffix(".md").lower(): path for path in paths}


@cache
def pictures() -> dict[str, Path]:
    """The file of each picture, by its name."""
    return {path.name: path for path in sorted((MANUAL / "docs" / "img").iterdir())}


def in_console(name: str) -> str:
    """The address in the console."""
    return "/docs" if name == INDEX else f"/docs/{name}"


@lru_cache(maxsize=2 * KEPT)
def document(name: str, address: Address = in_console) -> Document:
    """One document, with links as `address` says. Raises NotFound."""
    path = sources().get(name)
    if path is None:
        raise NotFound(f"there is no document {name[:200]!r}; /docs lists all")
    tokens = markdown().parse((MANUAL / path).read_text(encoding="utf-8"))
    headings = tuple(named(tokens))
    for token in tokens:
        for child in token.children or ():
            point(child, posixpath.dirname(path), address)
        lead_nowhere(token.children or ())
    labelled(tokens)
    body = tokens[3:]  # the title's three come first
    html = Markup(markdown().renderer.render(body, markdown().options, {}))  # noqa: S704  # raw HTML is off
    title, *rest = headings
    return Document(
        name=name,
        title=title.title,
        anchor=title.anchor,
        html=html,
        headings=tuple(rest),
        sections=tuple(sections(tokens)),
    )


@cache
def markdown() -> MarkdownIt:
    """GitHub's Markdown as far as documents use it. Loaded for the first document: most controllers, most of
    the time, show none."""
    from markdown_it import MarkdownIt  # noqa: PLC0415  # as above

    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    for kind, drawn in {"fence": fence, "table_open": table_open, "table_close": table_close}.items():
        made.add_render_rule(kind, drawn)
    made.add_render_rule("heading_close", heading_close)
    return made


def fence(_self: Any, tokens: list[Token], at: int, _options: Any, env: dict[str, int]) -> str:
    """A block of code as the console shows what is to be copied (`parts.html`, `command`)."""
    env["blocks"] = number = env.get("blocks", 0) + 1
    return (
        f'<div class="command"><pre id="block-{number}" tabindex="0">{escape(tokens[at].content.rstrip())}'
        f'</pre>\n<button type="button" class="copy" data-copy="block-{number}" hidden><svg class="icon" '
        'aria-hidden="true" focusable="false"><use href="#i-copy"></use></svg><span>Copy</span></button>'
        "</div>\n"
    )


def table_open(_self: Any, tokens: list[Token], at: int, _options: Any, _env: Any) -> str:
    """A table, which scrolls within the page where it is too wide; one without words in its head has none."""
    kind = ' class="headless"' if tokens[at].meta.get("headless") else ""
    return f'<div class="scroll"><table{kind}>\n'


def table_close(_self: Any, _tokens: list[Token], _at: int, _options: Any, _env: Any) -> str:
    """The end of both."""
    return "</table></div>\n"


def heading_close(_self: Any, tokens: list[Token], at: int, _options: Any, _env: Any) -> str:
    """The end of a heading, with a link to itself."""
    anchor = tokens[at - 2].attrs["id"]
    return f' <a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a></{tokens[at].tag}>\n'


def plain(token: Token) -> str:
    """The words of an inline token or a block of code."""
    if token.children is None:
        return token.content
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else plain(child) for child in token.children
    )


def named(tokens: list[Token]) -> Iterator[Heading]:
    """Every heading, the title first, each given its anchor as GitHub does: the second of a name gets -1."""
    taken: dict[str, int] = {}
    for at, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        title = plain(tokens[at + 1])
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        taken[anchor] = count = taken.get(anchor, -1) + 1
        token.attrSet("id", f"{anchor}-{count}" if count else anchor)
        yield Heading(level=int(token.tag[1]), title=title, anchor=str(token.attrs["id"]))


def point(token: Token, folder: str, address: Address) -> None:
    """Let a link or a picture lead to what is shown, `folder` being that of its document. A link to a file
    that is not among the documents loses its address."""
    attribute = {"link_open": "href", "image": "src"}.get(token.type)
    target = str(token.attrs.get(attribute, "")) if attribute else ""
    if not attribute or target.startswith("#") or re.match(r"[a-z]+:", target):
        return
    path, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(folder, path))
    found = next((name for name, source in sources().items() if source == path), None)
    if posixpath.dirname(path) == "docs/img" and posixpath.basename(path) in pictures():
        found = path.removeprefix("docs/")
    token.attrs[attribute] = "" if found is None else address(found) + (f"#{anchor}" if anchor else "")


def lead_nowhere(tokens: Any) -> None:
    """Show a link that has no address as the words that it is."""
    dead = False
    for token in tokens:
        if token.type == "link_open":
            dead = not token.attrs["href"]
        if token.type in ("link_open", "link_close"):
            token.hidden = dead


def labelled(tokens: list[Token]) -> None:
    """Give each cell its column's name, which a phone shows beside it, and numbers their class."""
    head: list[str] = []
    column = 0
    table: Token | None = None
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            table, head = token, []
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            if "right" in str(token.attrs.pop("style", "")):
                token.attrSet("class", "num")
            if token.type == "th_open":
                token.attrSet("scope", "col")
                head.append(plain(tokens[at + 1]))
            elif head[column]:
                token.attrSet("data-label", head[column])
            column += 1
        elif token.type == "thead_close" and table is not None:
            table.meta["headless"] = not any(head)


def sections(tokens: list[Token]) -> Iterator[Section]:
    """What stands under each heading. Cells of a row are held apart by a point."""
    title, anchor, text, column = "", "", list[str](), 0
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            if title:
                yield Section(title=title, anchor=anchor, text=" ".join(text))
            title, anchor, text = plain(tokens[at + 1]), str(token.attrs["id"]), []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "fence" or (token.type == "inline" and tokens[at - 1].type != "heading_open"):
            if tokens[at - 1].type in ("th_open", "td_open"):
                text += ["·"] if column else []
                column += 1
            text.append(" ".join(plain(token).split()))
    yield Section(title=title, anchor=anchor, text=" ".join(text))
