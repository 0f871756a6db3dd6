"""The documents in the console and as a static site: the same words, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from airboss.console import docs_site, documents, pages_table
from airboss.console.documents import MANUAL, document, pictures, sources
from airboss.console.documents_search import PLACES_MAX, TEXT_MAX, WORDS_MAX, find
from airboss.console.render import STATIC
from airboss.domain.errors import InvalidRequest
from tests.console.site import Site
from tests.console.test_pages import Page, hrefs, shown
from tests.test_docs import anchors

ROOT = Path(__file__).parent.parent.parent
SHOWN = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/img/*")]
SHOWN += [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY")]


@pytest.fixture(scope="module")
def site() -> Site:
    """A console with nothing in it."""
    return Site()


def test_the_package_has_every_document_once() -> None:
    """As links to the files themselves: a wheel has what they lead to, and nothing is there twice."""
    linked = {path.relative_to(MANUAL): path for path in MANUAL.rglob("*.*") if not path.is_dir()}
    missing = {path.relative_to(ROOT) for path in SHOWN} - set(linked)
    assert not missing, "from the folder of each, `ln -s` it: " + ", ".join(map(str, sorted(missing)))
    assert len(linked) == len(SHOWN)
    for name, path in linked.items():
        assert path.is_symlink()
        assert path.resolve() == ROOT / name


@pytest.mark.parametrize("name", sources())
def test_anchors_are_those_of_github(name: str) -> None:
    """So that a link in the repository leads to the same place here."""
    found = document(name)
    mine = [found.anchor, *(each.anchor for each in found.headings)]
    assert len(mine) == len(set(mine))
    assert anchors(ROOT / sources()[name]) == set(mine) - {"replicas-1"}


def test_a_second_heading_of_a_name_has_a_number() -> None:
    """As on GitHub: `[replicas]` comes after what a model says of its replicas."""
    levels = {each.anchor: each.title for each in document("configuration").headings}
    assert (levels["replicas"], levels["replicas-1"]) == ("replicas", "[replicas]")
    assert levels["policiesname"] == "[policies.NAME]"


def test_every_link_of_every_document_leads_somewhere(site: Site) -> None:
    """In the console: pages, pictures, anchors, what is to be copied; ids are there once, and none is taken
    that the console's own script asks for."""
    person = site.person("viewer")
    pages = {f"/docs/{name}": shown(person, f"/docs/{name}") for name in sources()}
    pages["/docs"] = shown(person, "/docs")
    asked = set(re.findall(r"\$\(\"#([\w-]+)\"", (STATIC / "console.js").read_text()))
    assert "search" in asked
    followed = 0
    for path, page in pages.items():
        ids = page.values("id")
        assert len(ids) == len(set(ids)), path
        assert not asked & {each.anchor for each in document(path[6:] or "index").headings}, path
        assert set(page.values("data-copy")) <= set(ids)
        assert "style" not in {name for _, attributes in page.tags for name in attributes}
        for link in hrefs(page):
            target, anchor = urldefrag(link)
            if "://" in link:
                continue
            if target not in pages and target:
                assert person.get(target).status_code == 200, (path, link)
            elif anchor:
                assert anchor in pages[target or path].values("id"), (path, link)
                followed += 1
        for src in page.values("src"):
            assert person.get(src).status_code == 200, (path, src)
    assert followed > 500


def test_a_picture_comes_as_one(site: Site) -> None:
    """With its type; another name is said not to be there, and so is another document."""
    person = site.person("viewer")
    picture = person.get("/docs/img/overview.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == (ROOT / "docs/img/overview.png").read_bytes()
    for wanted in ("/docs/img/..%2Findex.md", "/docs/img/none.png", "/docs/nothing", "/docs/README.md"):
        assert person.get(wanted).status_code == 404, wanted


def test_a_file_that_is_no_document_is_named_and_not_linked() -> None:
    """Who installed the wheel has no examples/; a picture and a table keep what they say."""
    html = document("readme").html
    assert "examples/first_call.py" in html
    assert "first_call.py</a>" not in html
    assert '<img src="/docs/img/overview.png" alt="The console' in html
    assert '<td data-label="Meaning">' in document("cli").html


def test_every_page_leads_to_what_explains_it(site: Site) -> None:
    """Docs in the head of each page leads to a section that is there."""
    for page in pages_table.PAGES:
        if page.room == "docs":
            continue
        name, _, anchor = page.docs.partition("#")
        found = document(name)
        assert not anchor or anchor in {each.anchor for each in found.headings}, (page.path, page.docs)
    text = site.person().get("/governance/keys").text
    assert 'href="/docs/how-to#keys-limits-and-budgets"' in text


def test_words_are_found_where_they_stand(site: Site) -> None:
    """The section whose heading has them comes first; plurals and questions find the same; markup is text."""
    person = site.person("viewer")
    page = shown(person, "/docs?text=How+do+I+rotate+keys%3F")
    assert (
        next(link for link in hrefs(page) if "#" in link and "/docs/" in link)
        == "/docs/cli#airboss-keys-rotate"
    )
    assert "<mark>rotate</mark>" in person.get("/docs?text=rotate").text
    best, _ = find("policies")
    assert (best[0].name, best[0].anchor) == ("configuration", "policiesname")
    assert find("budget per user")[0][0].anchor == "each_user"
    assert all(len("".join(words for words, _ in each.pieces)) < 260 for each in best)
    found, _ = find("rate limit")
    marked = {words.lower() for words, wanted in found[0].pieces if wanted}
    assert marked >= {"rate", "limit"}, "what is shown is where most of the words stand"
    nothing = person.get("/docs?text=%3Ci%3Exyzzy%3C/i%3E")
    assert "Nothing is found" in nothing.text
    assert "<i>xyzzy" not in nothing.text


def test_a_search_is_bounded(site: Site) -> None:
    """In what is asked, which is said, and in what is shown."""
    places, more = find("a")
    assert len(places) == PLACES_MAX
    assert more > 0
    assert find("  ") == ((), 0)
    for text in ("x" * (TEXT_MAX + 1), "x " * (WORDS_MAX + 1)):
        with pytest.raises(InvalidRequest, match=f"of at most {WORDS_MAX} and {TEXT_MAX}"):
            find(text)
    assert site.person().get(f"/docs?text={'x' * (TEXT_MAX + 1)}").status_code == 400


def test_the_site_is_whole(tmp_path: Path) -> None:
    """Built from the same documents: every link, anchor and file of it leads somewhere within it."""
    docs_site.build(tmp_path)
    pages = {path.name: Page(path.read_text()) for path in tmp_path.glob("*.html")}
    assert set(pages) == {f"{name}.html" for name in sources()}
    followed = 0
    for name, page in pages.items():
        files = [str(value) for tag, each in page.tags if tag == "link" and (value := each["href"])]
        for link in [*hrefs(page), *page.values("src"), *files]:
            target, anchor = urldefrag(link)
            if "://" in link:
                continue
            assert not target.startswith("/"), "it is opened from a disk too"
            assert not target or (tmp_path / target).is_file(), (name, link)
            if anchor:
                assert anchor in pages[target or name].values("id"), (name, link)
                followed += 1
    assert followed > 500
    assert {path.name for path in tmp_path.glob("img/*")} == set(pictures())


def test_what_is_shown_cannot_act() -> None:
    """HTML in a document is text: the pages are as strict as all others."""
    made = documents.markdown().render("a <script>alert(1)</script> [b](javascript:alert(1))")
    assert "<script" not in made
    assert "href" not in made
