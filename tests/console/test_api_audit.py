"""The audit log over the admin API: what was done, and all that it takes to check it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.governance.audit import FORGOT
from airboss.governance.checkpoint import Checkpoint, is_signed
from tests.console.governed import SIGNER, Governed, governed
from tests.console.site import ADMIN_KEY, Noted
from tests.governance.test_audit import EDITS, filled, opened
from tests.support.merkle_proofs import is_consistent, is_included


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """One where a few things were done."""
    with governed(tmp_path) as made:
        for number in range(6):
            made.audit.append(
                "x" if number % 2 else "y",
                actor="admin",
                subject=f"thing {number}",
                detail={"number": number},
                at=made.clock.now(),
                user="ann" if number == 3 else None,
            )
        yield made


def get(site: Governed, path: str, **params: Any) -> Any:
    """The answer of a GET under /api/v1/audit."""
    answer = site.program().get(f"/api/v1/audit{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_entries_come_newest_first_and_in_pages(site: Governed) -> None:
    """With names and hash; `next` leads on, and filters narrow."""
    first = get(site, "", limit=4)
    assert [each["number"] for each in first["entries"]] == [6, 5, 4, 3]
    assert (first["entries"][0]["action"], first["entries"][0]["subject"]) == ("x", "thing 5")
    assert first["entries"][2]["user"] == "ann"
    second = get(site, "", limit=4, before=first["next"])
    assert ([each["number"] for each in second["entries"]], second["next"]) == ([2, 1, 0], None)
    assert [each["number"] for each in get(site, "", action="y")["entries"]] == [5, 3, 1]
    assert get(site, "", since="1h")["entries"]
    assert site.program().get("/api/v1/audit", params={"before": "x"}).status_code == 400


def test_an_erased_name_is_gone_from_the_list(site: Governed) -> None:
    """The entry stays, and says nothing of the person."""
    site.audit.forget(
        "ann", action=FORGOT, actor="airboss", subject="erasure 1", detail={}, at=site.clock.now()
    )
    (entry,) = [each for each in get(site, "")["entries"] if each["number"] == 4]
    assert (entry["user"], entry["subject"], entry["detail"]) == (None, "thing 3", {"number": 3})


def test_a_checkpoint_is_signed(site: Governed) -> None:
    """By the log's key, over size, root and time."""
    found = msgspec.convert(get(site, "/checkpoint"), Checkpoint)
    assert (found.size, found.public_key) == (7, SIGNER.public_key)
    assert is_signed(found)


def test_proofs_hold(site: Governed) -> None:
    """Of each leaf, and of growth since each size, against the signed root; there is none of what is not
    there."""
    head = get(site, "/checkpoint")
    root = bytes.fromhex(head["root"])
    sizes = {head["size"]: root}
    for leaf in range(7):
        proof = get(site, "/proof", leaf=leaf)
        path = [bytes.fromhex(each) for each in proof["proof"]]
        assert is_included(bytes.fromhex(proof["leaf_hash"]), leaf, 7, root, path)
    for row in get(site, "/leaves")["leaves"]:
        sizes[row["leaf"]["number"] + 1] = bytes.fromhex(row["leaf"]["root"])
    for size, old in sizes.items():
        proof = get(site, "/proof", extends=size)
        assert is_consistent(size, old, 7, root, [bytes.fromhex(each) for each in proof["proof"]])
    program = site.program()
    for params, status in (
        ({"leaf": 7}, 404),
        ({"extends": 8}, 404),
        ({}, 400),
        ({"leaf": 1, "extends": 1}, 400),
    ):
        assert program.get("/api/v1/audit/proof", params=params).status_code == status


ASKED = ("", "/checkpoint", "/leaves", "/proof?leaf=3", "/proof?extends=3")


@pytest.mark.parametrize("edit", EDITS)
def test_what_somebody_made_of_the_log_is_no_defect(tmp_path: Path, edit: str) -> None:
    """Whatever stands in the tables is shown, or refused by name; never a head for a checkpoint that nobody
    signed."""
    log = filled(tmp_path)
    with governed(tmp_path) as site, closing(log):
        site.audit = Noted()
        cookies = site.person().cookies
        site.audit = log
        person = site.client()
        person.cookies = cookies
        with opened(tmp_path) as file:
            EDITS[edit][0](file)
        for path in ASKED:
            answer = site.program().get(f"/api/v1/audit{path}")
            assert answer.status_code in {200, 404, 503}, (path, answer.text)
            assert answer.status_code != 503 or "no such table" in answer.text
            if path == "/checkpoint" and answer.status_code == 200:
                assert is_signed(msgspec.convert(answer.json(), Checkpoint))
        page = person.get("/governance/audit")
        assert page.status_code in {200, 503}, page.text
        assert "The log verifies." not in page.text


def test_an_empty_log_has_no_checkpoint(tmp_path: Path) -> None:
    """There is nothing to sign."""
    with governed(tmp_path) as site:
        assert site.program().get("/api/v1/audit/checkpoint").status_code == 404
        assert get(site, "")["entries"] == []


def test_applying_a_configuration_is_noted(site: Governed) -> None:
    """With the digest of the text and the settings that changed, not their values; by whom."""
    config = '[providers.x]\nkind = "openai"\napi_key = "env:SOME_KEY"\n'
    assert site.program().post("/api/v1/config", json={"config": config}).status_code == 200
    assert (
        site.person()
        .post("/api/v1/config", json={"config": config}, headers={"origin": "http://testserver"})
        .is_success
    )
    second, _, first = get(site, "", limit=3)["entries"]
    assert (first["action"], first["actor"], second["actor"]) == ("config.apply", "admin key", "console")
    assert {"providers.x.api_key", "providers.x.kind"} <= set(first["detail"]["paths"])
    assert "SOME_KEY" not in str(first)


def test_logins_and_guesses_are_noted(site: Governed) -> None:
    """Who came in, and once who was shut out; not every wrong key."""
    client = site.client()
    for _ in range(12):
        client.get("/api/v1/status", headers={"authorization": "Bearer wrong"})
    site.client().post("/login", data={"key": ADMIN_KEY}, headers={"origin": "http://testserver"})
    noted = [each["action"] for each in get(site, "")["entries"]]
    assert noted[:2] == ["login", "login.blocked"]
    assert noted.count("login.blocked") == 1
