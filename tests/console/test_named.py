"""A release in a question, as people copy it from a page or a table."""

from __future__ import annotations

import pytest

from tests.console.site import Site


@pytest.fixture
def digest(site: Site) -> str:
    """Of a release that answered."""
    rows = site.program().get("/api/v1/usage", params={"group_by": "release"}).json()["rows"]
    served = {each.release.digest for each in site.ledger.releases()}
    return next(str(row["group"][0]) for row in rows if row["group"][0] in served)


def test_the_first_digits_of_a_digest_find_its_calls(site: Site, digest: str) -> None:
    """In lists, sums, comparisons and on the page alike; a whole digest need not be known here."""
    program = site.program()
    for path in ("/api/v1/records", "/api/v1/usage"):
        whole = program.get(
            path, params={"release": digest, "range": "24h"} if "usage" in path else {"release": digest}
        )
        short = program.get(path, params=dict(whole.request.url.params) | {"release": digest[:8].upper()})
        assert short.json()["rows" if "usage" in path else "records"]
        assert short.json() == whole.json()
    compared = program.get("/api/v1/usage", params={"compare": digest[:10]})
    assert compared.json()["against"]["release"] == digest
    assert digest[:8] in site.person().get("/records", params={"release": digest[:8]}).text
    assert program.get("/api/v1/records", params={"release": "0" * 64}).json()["records"] == []


def test_capitals_and_blanks_are_no_difference(site: Site, digest: str) -> None:
    """In a whole digest and in the words of `compare`, none of which is then a release of that name."""
    program = site.program()
    asked = {"range": "24h", "group_by": "model"}
    plain, odd = (
        program.get("/api/v1/usage", params=asked | {"release": each}).json()["rows"]
        for each in (digest, f" {digest.upper()} ")
    )
    assert plain
    assert odd == plain
    for odd, word in (("Previous", "previous"), (" previous ", "previous"), ("WEEK", "week")):
        found, wanted = (
            program.get("/api/v1/usage", params={"compare": each}).json()["against"] for each in (odd, word)
        )
        assert found["release"] is None
        assert found.keys() == wanted.keys()
    compared = program.get("/api/v1/usage", params={"compare": digest.upper()}).json()
    assert compared["against"]["release"] == digest


@pytest.mark.parametrize("written", ["abc", "00000000", "nope", "week", "previous"])
def test_what_is_no_release_is_refused(site: Site, written: str) -> None:
    """It must not look like a release that answered nothing."""
    answer = site.program().get("/api/v1/records", params={"release": written})
    assert answer.status_code == 400
    assert written in answer.json()["error"]["message"]
    assert "airboss release list" in answer.json()["error"]["message"]


def test_a_time_that_ends_before_it_begins_is_refused(site: Site) -> None:
    """It must not look like one without calls."""
    answer = site.program().get("/api/v1/records", params={"since": "1h", "until": "2h"})
    assert answer.status_code == 400
    assert "swap them" in answer.json()["error"]["message"]
