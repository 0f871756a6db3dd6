"""Bad bodies on every route of the data plane, by a table and by chance: a clear 4xx, and life goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.domain.plan import DeploymentPlan
from airboss.domain.release import ModelVersion, Release
from airboss.gateway.splice import MEMBERS_MAX
from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider
from tests.gateway import edge_json
from tests.gateway.edge_wire import post
from tests.support import odd_json
from tests.support.dialects import BASES, MODELS, SECRET
from tests.support.gateway import DIGEST, Gateway, deployment
from tests.support.wire_http import Answer, check_error, exchange

ROUTES = tuple(edge_json.GOOD)
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
FEEDBACK = "/v1/feedback"


def sent(gateway: Gateway, route: str, body: bytes) -> Answer:
    """The answer to one body: a 4xx in the route's shape, or a good one; never slow."""
    before = gateway.spent_s()
    answer = exchange(gateway.port, post(body, path=route.encode()))
    assert gateway.spent_s() - before < 1.0, body[:200]
    if answer.status not in {200, 202}:
        check_error(answer, anthropic=route.startswith("/v1/messages"))
    return answer


def well(gateway: Gateway) -> None:
    """A good call is served at once."""
    before = gateway.spent_s()
    assert exchange(gateway.port, post()).status == 200
    assert gateway.spent_s() - before < 0.5


RELAYED = {
    path: {"model": "gpt-4o"}
    for path in ("/v1/audio/speech", "/v1/images/generations", "/v1/moderations", "/v1/rerank")
}
"""Routes that are passed on, which read no more of a body than this and its user."""


@pytest.mark.parametrize("route", [*(each for each in ROUTES if "user" in edge_json.WRONG[each]), *RELAYED])
def test_who_is_too_long_to_be_recorded(gateway: Gateway, provider: FakeProvider, route: str) -> None:
    """A call whose record has no room for its user is refused before it costs anything."""
    body = {**edge_json.GOOD, **RELAYED}[route] | {"user": "u" * 16_385}
    assert sent(gateway, route, json.dumps(body).encode()).status == 400
    assert provider.stats().requests == 0


@pytest.mark.parametrize("label", ["\x01", "\0"], ids=["control", "nul"])
@pytest.mark.parametrize("route", [CHAT, RESPONSES, "/v1/messages", "/v1/completions"])
def test_labels_that_take_more_than_they_are(
    gateway: Gateway, provider: FakeProvider, route: str, label: str
) -> None:
    """A row of the record store has them as JSON: quotes in all of one find room, control characters not."""
    for said, status in ((label * 16_000, 400), ('"' * 16_000, 200), (label * 3_000, 200)):
        for metadata in ({"k": said}, {said: "v"}):
            calls = provider.stats().requests
            body = edge_json.GOOD[route] | {"metadata": metadata}
            assert sent(gateway, route, json.dumps(body).encode()).status == status
            assert (provider.stats().requests > calls) == (status == 200)


@pytest.mark.parametrize("route", ROUTES)
def test_good_bodies_are_good(gateway: Gateway, route: str) -> None:
    """What the bad bodies are made of is served by itself."""
    body = json.dumps(edge_json.GOOD[route]).encode()
    assert sent(gateway, route, body).status in {200, 202}


@pytest.mark.parametrize(("route", "name"), [(r, n) for r in ROUTES for n in edge_json.WRONG[r]])
def test_wrong_values(gateway: Gateway, route: str, name: str) -> None:
    """A member of a wrong type is a 400 that names it, on every route and for every member that is read."""
    for value in edge_json.WRONG[route][name]:
        body = json.dumps(edge_json.GOOD[route] | {name: value}).encode()
        answer = sent(gateway, route, body)
        assert answer.status == 400, (value, answer)
        assert name in answer.json()["error"]["message"], (value, answer)
    well(gateway)


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_no_json_object(gateway: Gateway, route: str) -> None:
    """What is not JSON, not UTF-8 or no object is a 400 on every route."""
    for what, body in edge_json.NOT_JSON.items():
        assert sent(gateway, route, body).status in {400, 413}, what
    well(gateway)


@pytest.mark.parametrize("route", ROUTES)
def test_a_member_twice(gateway: Gateway, provider: FakeProvider, route: str) -> None:
    """A member that was sent twice is refused by name, however its second is written, and nothing goes
    upstream: the upstream might take the other one."""
    for what, (to, body) in edge_json.REPEATED.items():
        if to == route:
            answer = sent(gateway, route, body)
            assert answer.status == 400, what
            assert "was sent twice" in answer.json()["error"]["message"], what
    assert provider.stats().requests == 0


@pytest.mark.parametrize("route", [route for route in ROUTES if route != FEEDBACK])
def test_members_without_end(gateway: Gateway, route: str) -> None:
    """A body of ever more members is refused before each has been given a place; thousands are served."""
    for count, status in ((MEMBERS_MAX - 20, 200), (MEMBERS_MAX + 1, 400), (200_000, 400)):
        many = {f"member {each:030}": None for each in range(count)}
        answer = sent(gateway, route, json.dumps(edge_json.GOOD[route] | many).encode())
        assert answer.status == status, (count, answer)
    assert f"more than {MEMBERS_MAX} members" in answer.json()["error"]["message"]
    well(gateway)


@pytest.mark.parametrize("route", ROUTES)
def test_odd_members(gateway: Gateway, route: str) -> None:
    """Members that nobody knows are passed on or refused, whatever is in them."""
    for to, body in edge_json.ODD.values():
        if to == route:
            sent(gateway, route, body)
    well(gateway)


@pytest.fixture(scope="module")
def zoo(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment of every way in which a body is read on its way."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(SECRET)
    with Gateway(tmp_path_factory.mktemp("zoo"), *_zoo(fake_process.url, f"file:{secret}")) as running:
        yield running


@pytest.mark.parametrize(
    ("route", "model", "more", "end"),
    [
        (CHAT, "gemini", lambda long: {long: 1}, "drop_unsupported = true on the provider"),
        (RESPONSES, "anthropic", lambda long: {long: 1}, "drop_unsupported = true on the provider"),
        (RESPONSES, "gpt-4o", lambda long: {"truncation": long}, "it is 'auto' or 'disabled'"),
    ],
)
def test_an_error_is_short(
    zoo: Gateway, route: str, model: str, more: Callable[[str], dict[str, object]], end: str
) -> None:
    """However long what was sent, an error says some of it again, and the next step."""
    body = edge_json.GOOD[route] | {"model": model} | more("a" * 100_000)
    answer = sent(zoo, route, json.dumps(body).encode())
    assert answer.status == 400
    error = answer.json()["error"]
    assert end in error["message"]
    assert len(error["message"]) + len(error["param"]) < 5_000


def _zoo(url: str, secret: str) -> list[DeploymentPlan]:
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    plain = Release(digest=DIGEST, name="r", model=model)
    led = msgspec.structs.replace(
        plain, prompt="Be brief.", params={"temperature": 0.2}, params_force={"max_tokens": 5}
    )
    raw = msgspec.structs.replace(plain, form="completion", prompt="Be brief.")
    plans = [
        deployment(url),
        deployment(url, name="masks", aliases=(), policy=policy_of("mask", None)),
        deployment(url, name="tokens", aliases=(), policy=policy_of("tokenize", None)),
        deployment(url, name="led", aliases=(), stable=led),
        deployment(url, name="raw", aliases=(), stable=raw),
        deployment(url, name="engine", aliases=(), kind="local", slot_tokens=2048),
    ]
    for kind, base in BASES.items():
        foreign = deployment(
            url.removesuffix("/v1") + base,
            name=kind,
            aliases=(),
            kind=kind,
            upstream_model=MODELS[kind],
            api_key_ref=secret,
            region="eu-west-1" if kind == "bedrock" else None,
            stable=msgspec.structs.replace(
                plain, model=ModelVersion(provider="fake", kind=kind, model=MODELS[kind])
            ),
        )
        drops = msgspec.structs.replace(foreign.target, drop_unsupported=True)
        plans += [
            foreign,
            msgspec.structs.replace(foreign, name=f"{kind}-masks", policy=policy_of("mask", None)),
            msgspec.structs.replace(foreign, name=f"{kind}-drops", target=drops),
        ]
    return plans


ZOO = tuple(each.name for each in _zoo("http://127.0.0.1:1/v1", "file:/x"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_member_spoilt(zoo: Gateway, data: st.DataObject) -> None:
    """A rich body with anything at any one place is served or refused by us: never a 5xx, never a trace."""
    route = data.draw(st.sampled_from(ROUTES))
    at = data.draw(st.sampled_from(odd_json.PLACES[route]))
    odd = data.draw(st.sampled_from(odd_json.ODD))
    model = data.draw(st.sampled_from(ZOO))
    body = odd_json.spoilt(route, at, odd, model=model)
    answer = exchange(zoo.port, post(body, path=route.encode()))
    if answer.status >= 400 and not _upstream_said(answer):
        check_error(answer, anthropic=route.startswith("/v1/messages"))


def _upstream_said(answer: Answer) -> bool:
    """Whether the fake provider does not have what was asked: it has no tokenizer."""
    return answer.status == 502 and "no route" in answer.json()["error"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = tuple(sorted({name for body in odd_json.RICH.values() for name in body}))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(ROUTES),
    body=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), JSON, max_size=6),
    good=st.booleans(),
)
def test_any_json(gateway: Gateway, route: str, body: dict[str, object], good: bool) -> None:
    """Any JSON object, alone or over a good body, is served or refused on every route."""
    whole = edge_json.GOOD[route] | body if good else body
    sent(gateway, route, json.dumps(whole).encode())
