"""What tells two releases apart whose models share calls."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from airboss.console.api_releases import release_diff
from airboss.console.route import Call
from airboss.domain.ports import KeptRelease
from airboss.domain.release import ModelVersion, Release
from airboss.releases.build import sealed

NOW = datetime(2026, 1, 5, tzinfo=UTC)
BIG, SMALL, LAST = (ModelVersion(provider=f"p{n}", kind="openai", model=f"m{n}") for n in (1, 2, 3))


def differences(a: Release, b: Release) -> list[tuple[str, Any, Any]]:
    """Path, before and after of each."""
    kept = [KeptRelease(release=sealed(each), plan=1, at=NOW) for each in (a, b)]
    desk = cast("Any", SimpleNamespace(ledger=SimpleNamespace(releases=lambda: kept)))
    params = {name: each.release.digest for name, each in zip("ab", kept, strict=True)}
    found = release_diff(desk, Call(params=params, path={}, body=b"", now=NOW))
    return [(each.path, each.before, each.after) for each in found.changes]


def release(*models: ModelVersion, shares: tuple[float, ...] = ()) -> Release:
    """One of these models; those beyond the shares are fallbacks."""
    return Release(digest="", name="r", model=models[0], fallbacks=models[1:], shares=shares)


def test_who_shares_is_told_by_name_and_is_no_fallback() -> None:
    """As somebody wrote it: each with its part, whichever is first; a fallback shares nothing."""
    was = release(BIG, SMALL, shares=(0.75, 0.25))
    assert differences(was, release(SMALL, BIG, shares=(0.5, 0.5))) == [
        ("shares.p1/m1.share", 0.75, 0.5),
        ("shares.p2/m2.share", 0.25, 0.5),
    ]
    ((path, before, after),) = differences(was, release(BIG, SMALL, LAST, shares=(0.75, 0.25)))
    assert (path, len(before), [each["model"] for each in after]) == ("fallbacks", 0, ["m3"])
    assert ("shares.p2/m2.share", None, 0.25) in differences(release(BIG), was)
    assert ("model.model", "m1", None) in differences(release(BIG), was)
