"""What people think of a call: `POST /v1/feedback`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.errors import InvalidRequest
from airboss.gateway.feedback import FeedbackBody, read_feedback
from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway, deployment

RECORD = "0190b1c0-0000-7000-8000-000000000001"
SURROGATE = b'{"record_id":"%s","name":"a","value":1,"correction":"\\ud800"}' % RECORD.encode()
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def give(gateway: Gateway, **body: Any) -> httpx2.Response:
    """Send feedback on RECORD, helpful unless told otherwise."""
    with gateway.client() as client:
        return client.post(
            "/v1/feedback", json={"record_id": RECORD, "name": "helpful", "value": True} | body
        )


def scores(gateway: Gateway, answer: httpx2.Response) -> dict[str, Any]:
    """What the journal has under the id that the answer names."""
    assert answer.status_code == 202, answer.text
    (found,) = [each for each in gateway.scores() if each["id"] == answer.json()["id"]]
    return found


@pytest.mark.parametrize("value", [1, 0.25, -3, True, False, "rude", "sehr gut"])
def test_feedback_is_in_the_journal_when_it_is_answered(gateway: Gateway, value: object) -> None:
    """202 with the score's id; number, yes or no and label keep their kind."""
    answer = give(gateway, value=value, comment="so so", user="ann", name="helpful")
    found = scores(gateway, answer)
    assert found["value"] == value
    assert isinstance(found["value"], bool) == isinstance(value, bool)
    assert (found["subject"], found["subject_id"], found["name"]) == ("record", RECORD, "helpful")
    assert (found["source"], found["by"]) == ("human", "app")
    assert (found["comment"], found["user"]) == ("so so", "ann")
    assert answer.headers["x-request-id"] == found["id"]


def righted(gateway: Gateway, **body: Any) -> list[dict[str, Any]]:
    """What the journal has of feedback with a correction, but the judgement beside it."""
    before = len(gateway.scores())
    judged = scores(gateway, give(gateway, **body))
    (first, *rest) = gateway.scores()[before:]
    assert first == judged
    return rest


def test_what_would_have_been_right_is_feedback_too(gateway: Gateway) -> None:
    """Beside the judgement, of the same key and user, under a name of its own; of 20,000 characters, however
    they are written. An empty one is none."""
    text = "\N{GRINNING FACE}" * 20_000
    (found,) = righted(gateway, value=False, comment="so so", user="ann", correction=text)
    assert (found["name"], found["value"], found["comment"] == text) == ("correction", "given", True)
    assert (found["source"], found["by"], found["user"]) == ("human", "app", "ann")
    assert found["subject_id"] == RECORD
    assert [righted(gateway, correction=each) for each in ("", " \n", None)] == [[], [], []]
    assert len({each["id"] for each in gateway.scores()}) == len(gateway.scores())


def test_what_would_have_been_right_is_kept_where_no_bodies_are(
    provider: FakeProvider, own_root: Path
) -> None:
    """As a comment is, and what people of the house write."""
    with Gateway(own_root, deployment(provider.url), bodies=False) as gateway:
        assert [each["comment"] for each in righted(gateway, correction="so")] == ["so"]


def test_a_comment_is_under_the_policies_of_what_the_key_may_call(
    own_root: Path, provider: FakeProvider
) -> None:
    """A comment or a label says what was said in a call: values are masked there as in its record."""
    said = "jane.doe@example.com was told +1 415 555 2671"
    plans = [
        deployment(provider.url, policy=policy_of("tokenize", ("email",))),
        deployment(provider.url, name="other", aliases=(), policy=policy_of("observe", ("phone",))),
    ]
    with Gateway(own_root, *plans) as gateway:
        found = scores(
            gateway, give(gateway, value="jane.doe@example.com", comment=said, user="j@example.com")
        )
        (right,) = righted(gateway, correction=said)
        assert right["comment"] == found["comment"]
        assert found["comment"] == said.replace("jane.doe@example.com", "[EMAIL]")
        assert (found["value"], found["user"]) == ("[EMAIL]", "j@example.com")
        assert b"jane" not in gateway.journal_bytes()


def test_the_id_of_a_real_call_is_taken(gateway: Gateway) -> None:
    """`x-request-id` is what is sent back, in either case of letters."""
    record_id = gateway.chat().headers["x-request-id"]
    assert scores(gateway, give(gateway, record_id=record_id.upper()))["subject_id"] == record_id


def test_the_same_again_is_a_second_opinion(gateway: Gateway) -> None:
    """Two calls give two scores."""
    first, second = give(gateway, user="ann"), give(gateway, user="ann")
    assert scores(gateway, first)["id"] < scores(gateway, second)["id"]


def test_feedback_needs_a_key(gateway: Gateway) -> None:
    """As every route under /v1; nothing is written without one."""
    before = len(gateway.scores())
    body = {"record_id": RECORD, "name": "helpful", "value": 1}
    for headers in ({}, {"authorization": "Bearer ab_wrong"}):
        answer = httpx2.post(f"{gateway.url}/v1/feedback", json=body, headers=headers)
        assert answer.status_code == 401
    assert len(gateway.scores()) == before


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"record_id": "chatcmpl-123"}, "record_id"),
        ({"record_id": ""}, "record_id"),
        ({"record_id": "0190b1c0-0000-4000-8000-000000000001"}, "record_id"),
        ({"record_id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}, "record_id"),
        ({"record_id": RECORD + "\n"}, "record_id"),
        ({"name": ""}, "name"),
        ({"name": "a<b"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"value": ""}, "value"),
        ({"value": "x" * 65}, "value"),
        ({"value": "a\nb"}, "value"),
        ({"value": " a"}, "value"),
        ({"comment": "x" * 4001}, "comment"),
        ({"user": "x" * 16_385}, "user"),
        ({"correction": "x" * 20_001}, "correction"),
        ({"correction": "so", "name": "correction"}, "name"),
        ({"correction": 1}, None),
        ({"correction": ["so"]}, None),
        ({"value": None}, None),
        ({"value": [1]}, None),
        ({"score": 1}, None),
    ],
)
def test_bad_feedback_is_refused(gateway: Gateway, wrong: dict[str, Any], param: str | None) -> None:
    """400 in OpenAI's shape, naming the member; nothing is written."""
    before = len(gateway.scores())
    answer = give(gateway, **wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert len(gateway.scores()) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"value":1e999}', b"\xff", b"[" * 50_000, SURROGATE])
def test_bodies_that_are_no_feedback_are_refused(gateway: Gateway, body: bytes) -> None:
    """400 whatever was sent, and the worker goes on."""
    with gateway.client() as client:
        assert client.post("/v1/feedback", content=body).status_code == 400
        assert client.post("/v1/feedback", content=b" " * 600_000).status_code == 413
        assert client.get("/v1/feedback").status_code == 405


def test_an_infinite_number_is_refused() -> None:
    """A number that no double holds is no judgement."""
    body = b'{"record_id":"%s","name":"a","value":1e999}' % RECORD.encode()
    with pytest.raises(InvalidRequest):
        read_feedback(body, NOW)


def test_an_id_of_the_future_is_not_ours() -> None:
    """The time stands in the id; a little ahead is another worker's clock."""

    def at(moment: datetime) -> FeedbackBody:
        ms = f"{int(moment.timestamp() * 1000):012x}"
        record_id = f"{ms[:8]}-{ms[8:]}-7000-8000-000000000001"
        return read_feedback(b'{"record_id":"%s","name":"a","value":1}' % record_id.encode(), NOW)

    assert at(NOW + timedelta(minutes=1)).value == 1.0
    with pytest.raises(InvalidRequest):
        at(NOW + timedelta(hours=2))


def test_secrets_in_a_comment_do_not_reach_the_journal(gateway: Gateway) -> None:
    """The redactor reads feedback as it reads calls."""
    found = scores(gateway, give(gateway, comment=f"my key is {KEY}, sk-provider-secret-0123456789"))
    (right,) = righted(gateway, correction=f"my key is {KEY}, sk-provider-secret-0123456789")
    assert right["comment"] == found["comment"]
    assert KEY not in found["comment"]
    assert "sk-provider-secret" not in found["comment"]
    assert b"sk-provider-secret" not in gateway.journal_bytes()


def test_feedback_that_was_answered_survives_a_kill(provider: FakeProvider, own_root: Path) -> None:
    """Killed right after the answer: every id that was given stands in the journal, once."""
    with Gateway(own_root, deployment(provider.url)) as gateway:
        ids = [give(gateway, value=number, correction="so").json()["id"] for number in range(20)]
        gateway.kill()
        found = gateway.scores()
        assert [each["id"] for each in found[::2]] == ids
        assert [each["comment"] for each in found[1::2]] == ["so"] * 20
        gateway.restart()
