"""Which release somebody means."""

from __future__ import annotations

import msgspec
import pytest

from airboss.domain.errors import Unavailable, WrongCall
from airboss.evaluations.targets import Served
from airboss.releases.build import sealed
from tests.evaluations.serving import GRADER, NEW, OLD, OTHER, deployment, plan, standing


def served() -> Served:
    """`support` serves OLD while NEW, of the same name, waits; `spare` may be called too."""
    return Served(plan(deployment("support", OLD), others=(NEW, OTHER)), standing(NEW, OLD))


def test_a_release_is_found_by_name_or_digest() -> None:
    """A digest's first eight digits suffice; the way to it is the deployment's own name, not an alias."""
    found = served().find("support-alias", "spare")
    assert (found.deployment, found.release, found.name) == ("support", OTHER.digest, "spare")
    assert served().find("support", OTHER.digest[:8].upper()).release == OTHER.digest


def test_stable_and_candidate_are_words() -> None:
    """They tell apart two releases of one name."""
    assert served().find("support", "stable").release == OLD.digest
    assert served().find("support", "candidate").release == NEW.digest
    with pytest.raises(WrongCall, match="2 releases answer to 'support'"):
        served().find("support", "support")


def test_a_release_goes_before_a_model_of_its_name() -> None:
    """Each model makes a release of its own name with nothing around it; a deployment's is another matter."""
    prompted = sealed(msgspec.structs.replace(OTHER, prompt="Be kind."))
    both = plan(deployment("support", OLD), others=(NEW, OTHER, prompted))
    assert Served(both, standing(NEW, OLD)).find("support", "spare").release == prompted.digest
    with pytest.raises(WrongCall, match="2 releases answer to 'spare'"):
        Served(both, standing(OTHER, OLD)).find("support", "spare")


def test_a_canary_is_the_candidate() -> None:
    """What a rollout exposes comes before what the configuration wants."""
    both = Served(plan(deployment("support", OLD, NEW), others=(OTHER,)), standing(OTHER, OLD))
    candidate = both.candidate("support")
    assert candidate is not None
    assert candidate.release == NEW.digest


def test_without_a_candidate() -> None:
    """A deployment that serves what is wanted has none, and one whose wish is not served has none either."""
    for wanted in (OLD, GRADER):
        settled = Served(plan(deployment("support", OLD)), standing(wanted, OLD))
        assert settled.candidate("support") is None
    with pytest.raises(WrongCall, match="has no candidate"):
        settled.find("support", "candidate")


def test_a_deployment_that_goes_over_to_another_release_is_waited_for() -> None:
    """While a rollout is to come, or nothing, there is nothing to wait for."""
    going_over = Served(plan(deployment("support", OLD), others=(NEW,)), standing(NEW, NEW))
    with pytest.raises(Unavailable, match=rf"goes over .* {OLD.digest[:12]} to {NEW.digest[:12]} once"):
        going_over.check_settled("support-alias")
    with pytest.raises(Unavailable, match="ask again then"):
        going_over.meant("support", None)
    assert going_over.meant("support", "stable").release == OLD.digest
    assert served().meant("support", None).release == OLD.digest
    served().check_settled("support")


@pytest.mark.parametrize(
    ("deployment", "wanted", "message"),
    [
        ("suport", "stable", "no deployment is called 'suport'; there are support; did you mean 'support'"),
        ("support", "spar", "no release 'spar' is served; there are spare, support; did you mean 'spare'"),
        ("support", "f" * 64, "no release 'ffff"),
        ("support", "x" * 500, f"no release '{'x' * 80}' is served"),
        ("support", OTHER.digest[:7], "no release"),
    ],
)
def test_what_is_not_there_is_said(deployment: str, wanted: str, message: str) -> None:
    """With what there is, and the nearest name."""
    with pytest.raises(WrongCall, match=message):
        served().find(deployment, wanted)
