"""Whatever the upstream does, a client of any dialect gets a whole answer or an error in its own words."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import httpx2
import pytest

from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.test_faults import FAULTS, WHOLE
from tests.support.gateway import KEY, SILENT, Gateway, asking, deployment, together
from tests.support.spoken import PATHS, error, error_in_stream, is_whole, recorded_text, say, text
from tests.support.wait import until

DIALECTS = sorted(PATHS)


@pytest.fixture(scope="module")
def silent(shared_gateway: Gateway) -> dict[tuple[str, bool, str], httpx2.Response]:
    """The answers to calls whose time runs out, by fault, whether they are streams, and dialect."""
    return together(
        {
            (fault, stream, dialect): partial(
                say, shared_gateway, dialect, asking(fault, WHOLE), model="hasty-assistant", stream=stream
            )
            for fault in SILENT
            for stream in (False, True)
            for dialect in DIALECTS
        }
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fault", "whole", "streamed"), FAULTS, ids=[f[0].partition(";")[0] for f in FAULTS])
def test_fault(  # noqa: PLR0917 - a row of the table
    request: pytest.FixtureRequest,
    gateway: Gateway,
    provider: FakeProvider,
    fault: str,
    whole: tuple[int | None, str | None],
    streamed: tuple[int | None, str | None],
    stream: bool,
    dialect: str,
) -> None:
    """A fault gives a whole answer or an error in the dialect's shape, never a clean-looking part of one."""
    status, code = streamed if stream else whole
    if fault in SILENT:
        response = request.getfixturevalue("silent")[fault, stream, dialect]
    else:
        provider.script(ScriptStep(behaviour=f"{fault};text={WHOLE}", forever=True))  # one more may be sent
        response = say(gateway, dialect, stream=stream)
    end = gateway.closed(response.headers["x-request-id"])
    assert response.status_code == (status or 200), response.text
    if code is None:
        said = text(dialect, response, stream=stream)
        assert said.startswith(WHOLE[:20])
        assert not stream or is_whole(dialect, response)
        assert end["status"] == "ok"
        assert recorded_text(dialect, end["response"]) == said
        return
    if status is None:
        assert not is_whole(dialect, response)
        told = error_in_stream(dialect, response)
    else:
        told = error(dialect, response)
    assert told["code"] == code
    assert "sk-provider-secret" not in response.text
    assert (end["status"], end["error_type"]) == ("error", code)
    if fault == "429":
        assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cut_answer_is_recorded_as_far_as_it_came(
    gateway: Gateway, provider: FakeProvider, dialect: str
) -> None:
    """The record of a cut stream has what was said, in the client's dialect, and does not look complete."""
    provider.script("cut-end;words=20;after=3")
    response = say(gateway, dialect, stream=True)
    end = gateway.closed(response.headers["x-request-id"])
    assert (
        recorded_text(dialect, end["response"]) == text(dialect, response, stream=True) == "word0 word1 word2"
    )
    if dialect == "messages":
        assert end["response"]["stop_reason"] is None
    else:
        assert end["response"]["status"] == "incomplete"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_error_event_in_a_stream(gateway: Gateway, provider: FakeProvider, dialect: str) -> None:
    """An error event after real output ends the stream in band."""
    provider.script("error-mid-stream;words=20")
    response = say(gateway, dialect, stream=True)
    assert not is_whole(dialect, response)
    assert error_in_stream(dialect, response)["message"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_error_object_with_200(gateway: Gateway, provider: FakeProvider, dialect: str, stream: bool) -> None:
    """An error that calls itself 200 is still an error."""
    provider.script("error-200")
    response = say(gateway, dialect, stream=stream)
    assert response.status_code >= 400
    assert error(dialect, response)["message"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_content_filter_finish(gateway: Gateway, provider: FakeProvider, dialect: str, stream: bool) -> None:
    """A provider's own filter is passed on with its reason."""
    provider.script("content-filter-finish;words=20")
    response = say(gateway, dialect, stream=stream)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["finish_reason"]) == ("ok", "content_filter")
    if dialect == "messages":
        assert end["response"]["stop_reason"] == "refusal"
    else:
        assert end["response"]["incomplete_details"] == {"reason": "content_filter"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_usage_that_nobody_told_is_estimated(gateway: Gateway, provider: FakeProvider, dialect: str) -> None:
    """The client of a stream without usage gets the record's estimate."""
    provider.script(f"no-usage;text={WHOLE}")
    response = say(gateway, dialect, stream=True)
    end = gateway.closed(response.headers["x-request-id"])
    assert end["usage_estimated"]
    assert f'"output_tokens":{end["output_tokens"]}' in response.text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_retries_are_attempts_of_one_record(gateway: Gateway, provider: FakeProvider, dialect: str) -> None:
    """A call that fares better the second time is one call with two attempts."""
    provider.script("500", ScriptStep(behaviour="reset"), "ok")
    response = say(gateway, dialect, model="patient")
    assert response.status_code == 200
    end = gateway.closed(response.headers["x-request-id"])
    assert [a["error_type"] for a in end["attempts"]] == ["upstream_error", "connection_stale", None]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_upstream_is_cancelled_when_the_client_goes(
    gateway: Gateway, provider: FakeProvider, stream: bool, dialect: str
) -> None:
    """At once, though it would answer for 40 s yet, and the record says cancelled."""
    provider.script("ok;words=2000;tokens_per_s=50")
    body = {"model": "gpt-4o", "stream": stream, "max_tokens": 9000}
    body |= {"messages": [{"role": "user", "content": "x"}]} if dialect == "messages" else {"input": "x"}
    if stream:
        with gateway.client() as client, client.stream("POST", PATHS[dialect], json=body) as response:
            next(response.iter_lines())
    else:
        gateway.leave(PATHS[dialect], body, once=lambda: provider.stats().in_flight == 1)
    until(lambda: provider.stats().cancelled == 1)
    end = gateway.closed(max(gateway.frames()[0]))
    assert (end["status"], end["error_type"]) == ("cancelled", "client_disconnected")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_errors_before_any_call(gateway: Gateway, dialect: str) -> None:
    """Errors that no call has come to are in the dialect's shape too, with an id."""
    with gateway.client() as client:
        path = PATHS[dialect]
        answers = {
            401: client.post(path, json={}, headers={"authorization": "Bearer nobody"}),
            404: say(gateway, dialect, model="gpt-5"),
            405: client.request("PUT", path),
            400: client.post(path, content=b"{"),
            415: client.post(path, content=b"x", headers={"content-encoding": "br"}),
        }
    for status, response in answers.items():
        assert response.status_code == status
        assert error(dialect, response)["message"]
        assert response.headers["x-request-id"]
    assert error(dialect, answers[404])["code"] == "model_not_found"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_that_is_too_large(own_root: Path, provider: FakeProvider, dialect: str) -> None:
    """413, in the dialect's shape."""
    with Gateway(own_root, deployment(provider.url), body_bytes_max=2048) as gateway:
        response = say(gateway, dialect, "x" * 4096)
        assert response.status_code == 413
        assert error(dialect, response)["code"] == "request_too_large"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"model":1}',
        b'{"model":"gpt-4o"}',
        b'{"model":"gpt-4o","max_tokens":5,"messages":{},"input":{}}',
        b'{"model":"gpt-4o","max_tokens":5,"messages":[{"role":"user","content":[1]}],"input":[[]]}',
        b'{"model":"gpt-4o","max_tokens":"5","messages":[],"input":"x","max_output_tokens":"5"}',
        b'{"model":"\xff"}',
        b'{"model":"gpt-4o","max_tokens":5,"x":' + b"[" * 5000 + b"]" * 5000 + b',"messages":[],"input":"x"}',
        b'{"model":"gpt-4o","max_tokens":5,"input":"x","tools":[{"type":"function","name":"f","parameters":'
        + b'{"a":' * 300
        + b"1"
        + b"}" * 300
        + b'}],"messages":[{"role":"user","content":"x"}]}',
    ],
)
def test_bodies_that_mean_nothing(
    gateway: Gateway, provider: FakeProvider, dialect: str, body: bytes
) -> None:
    """Whatever is sent, the answer is a 400 that says what is wrong, and nothing goes upstream."""
    with gateway.client() as client:
        response = client.post(PATHS[dialect], content=body)
    assert response.status_code == 400, response.text
    assert error(dialect, response)["message"]
    assert provider.stats().requests == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_secrets_stay_out(gateway: Gateway, provider: FakeProvider, dialect: str) -> None:
    """Neither the provider's key nor the caller's reaches answer, journal or ledger."""
    secret = "sk-provider-secret-0123456789"
    provider.script("echo-authorization")
    assert secret not in say(gateway, dialect).text
    provider.script("ok;echo=true")
    response = say(gateway, dialect, f"my key is {KEY}, {secret}")
    assert response.status_code == 200
    record = gateway.frames()[0][response.headers["x-request-id"]]
    assert "[REDACTED]" in json.dumps(record["request"])
    kept = b"".join(path.read_bytes() for path in gateway.journal.parent.glob("ledger.db*"))
    for hidden in (secret, KEY):
        assert hidden.encode() not in gateway.journal_bytes() + gateway.log.encode() + kept
