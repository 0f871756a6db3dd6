"""Errors that quote some of what was sent: a half of a secret at a quotation's end is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airboss.domain.errors import ApiError, InvalidRequest
from airboss.gateway.relayed import not_offered
from airboss.governance.redact import Redactor
from airboss.providers.chat_request import data_url, no_effort

SECRET = "sk-proj-Zx81kQw92LmPq07VbN34TyRe"


def of_url(text: str) -> ApiError:
    """What is said of an address that is none."""
    with pytest.raises(InvalidRequest) as caught:
        data_url(text)
    return caught.value


@pytest.mark.parametrize("off", [9, 20, 31])
@pytest.mark.parametrize(
    ("quoting", "most"),
    [(of_url, 40), (lambda text: no_effort(text, ["low"]), 40), (lambda text: not_offered(text, "no"), 100)],
)
def test_no_half_of_a_secret_is_quoted(quoting: Callable[[str], ApiError], most: int, off: int) -> None:
    """Wherever in it a text is cut off: so that it shows."""
    said = quoting("x" * (most - off) + SECRET + "more").message
    kept = Redactor([SECRET]).redact_text(said)
    assert not [at for at in range(25) if SECRET[at : at + 8] in kept], kept
