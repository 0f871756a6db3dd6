"""OpenAI's other routes are passed on: whose they are, what is counted, and what nobody here can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Budget, Limits, Retry
from airboss.domain.ports import ApiKey
from airboss.domain.release import ModelVersion, Policy, Release
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.gateway import DIGEST, KEY, PRICE, Gateway, deployment
from tests.support.wait import until

SECRET = "sk-provider-secret-0123456789"
POOR, NARROW, STRANGE = ("ab_" + each * 43 for each in "pns")
MODEL = ModelVersion(provider="fake", kind="openai", model="up")


def key(name: str, secret: str, **more: Any) -> ApiKey:
    """A key of the data plane."""
    return ApiKey(name=name, sha256=hash_key(secret), created_at=datetime.now(UTC), **more)


@pytest.fixture(scope="module")
def relaying(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of OpenAI, Azure, Anthropic and a policy."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(SECRET)
    root = fake_process.url.removesuffix("/v1")
    common: dict[str, Any] = {"aliases": (), "api_key_ref": f"file:{secret}", "price": PRICE}
    masks = Release(
        digest=DIGEST, name="m", model=MODEL, policy=Policy(pii=(("email", "mask"),), detectors="1")
    )
    blocks = msgspec.structs.replace(masks, policy=Policy(pii=(("email", "block"),), detectors="1"))
    plans = [
        deployment(f"{root}/v1", name="claude", kind="anthropic", **common),
        deployment(fake_process.url, name="voice", kind="openai", upstream_model="gpt-audio", **common),
        deployment(fake_process.url, name="patient", kind="openai", retry=Retry(attempts=3), **common),
        deployment(root, name="azure", kind="azure", upstream_model="my audio", **common),
        deployment(fake_process.url, name="masks", kind="openai", stable=masks, **common),
        deployment(fake_process.url, name="blocks", kind="openai", stable=blocks, **common),
    ]
    keys = (
        key("app", KEY),
        key("poor", POOR, budget=Budget(usd=Decimal(5)), limits=Limits(requests_per_minute=3)),
        key("narrow", NARROW, deployments=frozenset({"claude"})),
    )
    with Gateway(tmp_path_factory.mktemp("relay"), *plans, keys=keys) as running:
        yield running


@pytest.fixture
def gateway(relaying: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, its provider as it was when it began."""
    assert provider.url
    return relaying


def call(gateway: Gateway, method: str, path: str, secret: str = KEY, **more: Any) -> httpx2.Response:
    """One call."""
    with gateway.client() as client:
        client.headers["authorization"] = f"Bearer {secret}"
        return client.request(method, path, **more)


def record(gateway: Gateway, answer: httpx2.Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the journal has of a call."""
    id_ = answer.headers["x-request-id"]
    closed = gateway.closed(id_)
    return gateway.frames()[0][id_], closed


def test_speech(gateway: Gateway, provider: FakeProvider) -> None:
    """Sound comes as it is; the record says what kind of thing it was, and that nobody knows its cost."""
    raw = b'{"input":"hello","model":"voice", "voice":"alloy","odd":[1.50]}'
    answer = call(
        gateway, "POST", "/v1/audio/speech", content=raw, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"ID3")
    assert answer.headers["content-type"] == "audio/mpeg"
    assert "x-airboss-cost-usd" not in answer.headers
    seen = provider.last()
    assert seen.body == raw.decode().replace('"voice",', '"gpt-audio",', 1)
    assert (seen.header("authorization"), seen.path) == (f"Bearer {SECRET}", "/v1/audio/speech")
    opened, closed = record(gateway, answer)
    assert (opened["operation"], opened["deployment"], opened["model"]) == (
        "audio_speech",
        "voice",
        "gpt-audio",
    )
    assert opened["request"]["input"] == "hello"
    assert closed["response"] == {"content_type": "audio/mpeg", "bytes": len(answer.content)}
    assert (closed["status"], closed["usage_estimated"]) == ("ok", False)
    assert closed.get("cost_usd") is None


def test_transcription(gateway: Gateway, provider: FakeProvider) -> None:
    """A form goes on byte for byte but for the model; its file is in no record, its tokens are counted."""
    sound = b"\r\n--RIFF\x00\xff" * 1000
    answer = call(
        gateway,
        "POST",
        "/v1/audio/transcriptions",
        data={"model": "voice", "language": "nl"},
        files={"file": ("Grüße 日本.wav", sound, "audio/wav")},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == f"heard {len(sound)} bytes"
    assert 'name="model"\r\n\r\ngpt-audio\r\n' in provider.last().body
    opened, closed = record(gateway, answer)
    assert opened["operation"] == "audio_transcription"
    form = opened["request"]["form"]
    assert (form["model"], form["language"]) == ("voice", "nl")
    assert form["file"] == {"filename": "Grüße 日本.wav", "content_type": "audio/wav", "bytes": len(sound)}
    assert (closed["input_tokens"], closed["output_tokens"]) == (14, 3)
    assert closed["cost_usd"] == pytest.approx((14 * 1 + 3 * 2) / 1e6)
    assert float(answer.headers["x-airboss-cost-usd"]) == pytest.approx(closed["cost_usd"])
    assert closed["response"]["text"] == answer.json()["text"]
    assert b"RIFF" not in gateway.journal_bytes()


def test_events_are_streamed(gateway: Gateway) -> None:
    """A stream of events passes as it is, and its last event's usage is counted."""
    answer = call(
        gateway,
        "POST",
        "/v1/audio/transcriptions",
        data={"model": "voice", "stream": "true"},
        files={"file": ("a.wav", b"x", "audio/wav")},
    )
    assert answer.headers["content-type"] == "text/event-stream"
    assert [json.loads(e.removeprefix("data: "))["type"] for e in answer.text.split("\n\n")[:-1]] == [
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert record(gateway, answer)[1]["output_tokens"] == 3


def test_files_and_batches(gateway: Gateway, provider: FakeProvider) -> None:
    """What names no model goes to OpenAI; queries and ids go with it."""
    data = b'{"custom_id": "1"}\n' * 20_000
    kept = call(
        gateway,
        "POST",
        "/v1/files",
        data={"purpose": "batch"},
        files={"file": ("b.jsonl", data, "text/plain")},
    )
    assert kept.status_code == 200, kept.text
    id_ = kept.json()["id"]
    listed = call(gateway, "GET", "/v1/files?purpose=batch&limit=2")
    assert [each["id"] for each in listed.json()["data"]] == [id_]
    assert provider.last().path == "/v1/files?purpose=batch&limit=2"
    assert call(gateway, "GET", f"/v1/files/{id_}").json()["bytes"] == len(data)
    assert call(gateway, "GET", f"/v1/files/{id_}/content").content == data
    made = call(
        gateway, "POST", "/v1/batches", json={"input_file_id": id_, "endpoint": "/v1/chat/completions"}
    )
    assert made.json()["status"] == "validating"
    batch = made.json()["id"]
    assert call(gateway, "GET", f"/v1/batches/{batch}").json()["status"] == "completed"
    assert call(gateway, "POST", f"/v1/batches/{batch}/cancel").json()["status"] == "cancelling"
    assert call(gateway, "DELETE", f"/v1/files/{id_}").json()["deleted"]
    gone = call(gateway, "GET", f"/v1/files/{id_}")
    assert (gone.status_code, gone.json()["error"]["message"]) == (404, f"No such File object: {id_}")
    opened, closed = record(gateway, made)
    assert (opened["operation"], opened["provider"], opened["deployment"]) == ("batches", "fake", "voice")
    assert closed.get("cost_usd") is None
    assert record(gateway, kept)[1]["cost_usd"] == 0


def test_images_and_moderations(gateway: Gateway) -> None:
    """Pictures' tokens are counted; what is moderated costs nothing."""
    answer = call(
        gateway, "POST", "/v1/images/generations", json={"model": "voice", "prompt": "a deck", "n": 2}
    )
    assert len(answer.json()["data"]) == 2
    assert record(gateway, answer)[1]["output_tokens"] == 7
    checked = call(gateway, "POST", "/v1/moderations", json={"input": "hi"})
    assert checked.json()["results"][0]["flagged"] is False
    assert record(gateway, checked)[0]["operation"] == "moderations"


@pytest.mark.parametrize("number", [11, 0.5, -1, "x", [1]])
def test_more_images_than_there_are(gateway: Gateway, number: Any) -> None:
    """The fake provider says so, as a real one does; it makes no images without end."""
    body = {"model": "voice", "prompt": "a deck", "n": number}
    answer = call(gateway, "POST", "/v1/images/generations", json=body)
    assert answer.status_code == 400
    assert "n must be 1 to 10" in answer.json()["error"]["message"]


def test_azure_has_them_elsewhere(gateway: Gateway, provider: FakeProvider) -> None:
    """Under the deployment's own URL, with the key where Azure looks for it."""
    assert call(gateway, "POST", "/v1/audio/speech", json={"model": "azure", "input": "x"}).status_code == 200
    assert provider.last().path == "/openai/deployments/my%20audio/audio/speech?api-version=2024-10-21"
    assert provider.last().header("api-key") == SECRET
    listed = call(gateway, "GET", "/v1/files?limit=1", headers={"x-airboss-deployment": "azure"})
    assert listed.status_code == 200
    assert provider.last().path == "/openai/files?api-version=2024-10-21&limit=1"


def test_who_has_no_such_route(gateway: Gateway, provider: FakeProvider) -> None:
    """A provider of another dialect, a key without one that has it, an unknown model, an upstream's 404."""
    mine = call(gateway, "POST", "/v1/audio/speech", json={"model": "claude", "input": "x"})
    assert (mine.status_code, mine.json()["error"]["code"]) == (404, "route_not_offered")
    none = call(gateway, "GET", "/v1/files", NARROW)
    assert (none.status_code, none.json()["error"]["code"]) == (404, "route_not_offered")
    assert "/v1/chat/completions" in none.json()["error"]["message"]
    unknown = call(gateway, "POST", "/v1/audio/speech", json={"model": "tts-1", "input": "x"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert not provider.stats().requests
    theirs = call(gateway, "GET", "/v1/vector_stores/vs_1/files?limit=3")
    assert theirs.status_code == 404
    assert record(gateway, theirs)[1]["status"] == "error"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/files/../admin", 404),
        ("GET", "/v1/files/%2e%2e", 404),
        ("GET", "/v1/files/..", 404),
        ("GET", "/v1/files/a/b/c", 404),
        ("PUT", "/v1/files", 405),
        ("GET", "/v1/audio/speech", 405),
    ],
)
def test_paths_lead_nowhere_else(
    gateway: Gateway, provider: FakeProvider, method: str, path: str, status: int
) -> None:
    """Only routes that are known go upstream, where our key opens everything."""
    import http.client  # noqa: PLC0415 - it sends paths as they are

    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request(method, path, headers={"authorization": f"Bearer {KEY}"})
    assert connection.getresponse().status == status
    connection.close()
    assert not provider.stats().requests


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/file-1/content", "/v1/batches", "/v1/models"])
def test_a_head_is_a_get_without_its_body(gateway: Gateway, provider: FakeProvider, path: str) -> None:
    """It has the same status and length; the provider, which may know no HEAD, is asked with a GET."""
    if path.endswith("content"):
        form = {"file": ("a.jsonl", b"x" * 100_000), "purpose": (None, "batch")}
        made = call(gateway, "POST", "/v1/files", files=form)
        path = path.replace("file-1", made.json()["id"])
    whole = call(gateway, "GET", path)
    with gateway.client() as client:
        head = client.head(path)
        again = client.get(path)  # on the same connection: nothing of a body came before it
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.status_code == 200
    assert int(head.headers["content-length"]) == len(whole.content) == len(again.content)
    if path != "/v1/models":
        assert record(gateway, head)[1]["status"] == "ok"
        assert provider.last().method == "GET"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/v1/files", "GET, POST, HEAD"),
        ("HEAD", "/v1/audio/speech", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("HEAD", "/v1/messages", "POST"),
        ("OPTIONS", "/v1/models", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_there_is_told_what_is(
    gateway: Gateway, method: str, path: str, allow: str
) -> None:
    """405 with `allow`, on our own routes and on those that are passed on."""
    answer = call(gateway, method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)


FORM = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\nvoice\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"", 404),
        ("multipart/form-data; boundary=b", b"junk--b", 400),
        ("multipart/form-data; boundary=b", FORM % b"model", 400),
        ("multipart/form-data; boundary=b", FORM % b"model" + FORM % b"model" + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b"model" + FORM % b"Model" + b"--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nx: y\r\n\r\nv\r\n--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"x" * 9000 + b"\r\n\r\nv\r\n--b--", 400),
        ("multipart/form-data; boundary=b", (FORM % b"a") * 300 + b"--b--", 400),
        ("multipart/form-data; boundary=" + "b" * 80, b"--b", 400),
        ("multipart/form-data; boundary*=b; boundary*1=c", FORM % b"a" + b"--b--", 400),
        ("multipart/form-data; boundary=b; Boundary=c", FORM % b"a" + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b'a"; filename*1=b; filename*="c' + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b'a"; filename*0="c' + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b'a"; NAME="model' + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b"model\0" + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b"mod\\el" + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % "mod\u00e9l".encode() + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b"include[]" + b"--b--", 404),
        ("multipart/form-data; boundary=b", FORM % b"a\"; name*=\"utf-8''model" + b"--b--", 400),
        ("multipart/form-data; boundary=b", FORM % b"a\"; filename*=\"idna''x" + b"--b--", 400),
        ("application/xml", b"<a/>", 400),
        ("application/json", b'{"model": 5}', 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b'{"model": "voice", "model": "x"', 400),
        ("application/json", b"\xff\xfe", 400),
    ],
)
def test_bodies_that_cannot_be_read(
    gateway: Gateway, provider: FakeProvider, content_type: str, body: bytes, status: int
) -> None:
    """What could be read in two ways is refused, in the house's shape; nothing of it goes upstream."""
    narrow = NARROW if status == 404 else KEY
    answer = call(
        gateway,
        "POST",
        "/v1/audio/transcriptions",
        narrow,
        content=body,
        headers={"content-type": content_type},
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert not provider.stats().requests


@pytest.mark.parametrize(
    ("content_type", "head"),
    [
        ("multipart/form-data; charset=utf-8; boundary=b", 'name="file"; filename="a.wav"'),
        ("multipart/form-data; boundary=b;", """name=file; filename="a.wav"; filename*=utf-8''a.wav"""),
        ("multipart/form-data; boundary=b", 'name="file"; filename="ä; filename*1=a.wav; name=\\"b"'),
    ],
)
def test_a_file_is_named_as_its_client_does(
    gateway: Gateway, provider: FakeProvider, content_type: str, head: str
) -> None:
    """Twice, in two ways, is common; what stands in quotes is its name and no more."""
    body = (
        f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\nRIFF\r\n".encode()
        + FORM % b"model"
        + b"--b--\r\n"
    )
    answer = call(
        gateway,
        "POST",
        "/v1/audio/transcriptions",
        KEY,
        content=body,
        headers={"content-type": content_type},
    )
    assert answer.status_code == 200, answer.text
    assert provider.stats().requests == 1


def test_unquoted_names_are_names_too(gateway: Gateway, provider: FakeProvider) -> None:
    """However a form spells it, the model that is asked for is the one that is authorised."""
    body = b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nsecret-model\r\n--b--\r\n"
    answer = call(
        gateway,
        "POST",
        "/v1/audio/transcriptions",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert not provider.stats().requests


MAIL = "mail ann@example.org"
FINE = {"input": "hello", "prompt": "hello", "query": "hello", "documents": ["hello"]}
READ: dict[str, dict[str, Any]] = {
    "/v1/audio/speech": {"input": MAIL, "instructions": f"as {MAIL}", "voice": "alloy"},
    "/v1/images/generations": {"prompt": MAIL},
    "/v1/moderations": {"input": [MAIL, {"type": "text", "text": MAIL}]},
    "/v1/rerank": {"query": f"who is {MAIL}", "documents": [MAIL, {"text": MAIL}]},
}


@pytest.mark.parametrize("filler", ["", "x" * 70_000], ids=["short", "long"])
@pytest.mark.parametrize("path", READ)
def test_a_policy_reads_texts(gateway: Gateway, provider: FakeProvider, path: str, filler: str) -> None:
    """What is masked goes upstream masked and stands so in the record, which says what was found."""
    body = {"model": "masks", "user": "ann@example.org", "filler": filler} | READ[path]
    answer = call(gateway, "POST", path, json=body)
    assert answer.status_code == 200, answer.text
    sent = json.loads(provider.last().body)
    assert (sent["model"], sent["user"]) == ("up", "ann@example.org")
    assert MAIL not in json.dumps(sent)
    assert json.dumps(sent).count("mail [EMAIL]") == json.dumps(body).count(MAIL)
    opened, closed = record(gateway, answer)
    assert MAIL not in json.dumps([opened, closed])
    assert closed["policy"][0]["kind"] == "email"
    assert filler or "mail [EMAIL]" in json.dumps(opened["request"])


@pytest.mark.parametrize("path", READ)
def test_a_policy_blocks_texts(gateway: Gateway, provider: FakeProvider, path: str) -> None:
    """What is blocked goes nowhere, and the record keeps it masked; what holds nothing passes."""
    answer = call(gateway, "POST", path, json={"model": "blocks"} | READ[path])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_policy")
    assert not provider.stats().requests
    opened, closed = record(gateway, answer)
    assert closed["status"] == "refused"
    assert "ann@example.org" not in json.dumps([opened, closed])
    fine = call(gateway, "POST", path, json={"model": "blocks", **FINE})
    assert fine.status_code == 200, fine.text


@pytest.mark.parametrize("path", ["/v1/images/edits", "/v1/images/generations?note=ann@example.org"])
def test_a_policy_refuses_what_it_cannot_read(gateway: Gateway, provider: FakeProvider, path: str) -> None:
    """A form, or words in the address: nothing goes upstream, and the record keeps nothing of what was
    said."""
    said: dict[str, Any] = {"json": {"model": "masks"} | READ["/v1/images/generations"]}
    if path.endswith("edits"):
        said = {"data": {"model": "masks", "prompt": MAIL}, "files": {"image": ("a.png", b"x", "image/png")}}
    answer = call(gateway, "POST", path, **said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_policy")
    assert "cannot read this POST /v1/images" in answer.json()["error"]["message"]
    assert not provider.stats().requests
    opened, closed = record(gateway, answer)
    assert closed["status"] == "refused"
    assert "ann@example.org" not in json.dumps([opened, closed])


def test_limits_and_budgets(gateway: Gateway) -> None:
    """A call that nobody knows the cost of is refused to a key with a budget; requests are counted."""
    refused = call(gateway, "POST", "/v1/audio/speech", POOR, json={"model": "voice", "input": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "price_unknown")
    assert "what a call of 'audio_speech' costs nobody knows" in refused.json()["error"]["message"]
    assert "[models]" not in refused.json()["error"]["message"], "no price there would mend it"
    assert call(gateway, "GET", "/v1/files", POOR).status_code == 200
    assert call(gateway, "GET", "/v1/files", POOR).status_code == 200
    assert call(gateway, "GET", "/v1/files", POOR).status_code == 429
    assert call(gateway, "GET", "/v1/files", STRANGE).status_code == 401


@pytest.mark.parametrize(
    ("fault", "status"), [("429", 429), ("500", 502), ("503", 503), ("status;status=422", 422), ("html", 502)]
)
def test_faults(gateway: Gateway, provider: FakeProvider, fault: str, status: int) -> None:
    """The provider's errors are told as those of chat; each has a record."""
    provider.script(fault)
    answer = call(gateway, "POST", "/v1/audio/speech", json={"model": "voice", "input": "x"})
    assert answer.status_code == status
    assert record(gateway, answer)[1]["status"] == "error"


def test_a_cut_answer_never_looks_whole(gateway: Gateway, provider: FakeProvider) -> None:
    """A long one that breaks off ends in a cut connection, a short one in an error."""
    provider.script("truncated-body")
    short = call(gateway, "POST", "/v1/audio/speech", json={"model": "voice", "input": "x"})
    assert short.status_code == 502
    provider.script("truncated-body;size_bytes=1000000")
    with pytest.raises(httpx2.TransportError):
        call(gateway, "POST", "/v1/audio/speech", json={"model": "voice", "input": "x"})
    broken = until(
        lambda: [
            each for each in gateway.frames()[1].values() if each["status"] == "error" and each.get("ttft_ms")
        ],
    )
    assert broken
    assert [(each["usage_estimated"], each.get("cost_usd")) for each in broken] == [(False, None)]


def test_what_is_done_twice_does_harm_once(gateway: Gateway, provider: FakeProvider) -> None:
    """A batch is not made again after a failure whose outcome nobody knows; what does no harm is."""
    at = {"x-airboss-deployment": "patient"}
    provider.script("500")
    assert call(gateway, "POST", "/v1/batches", json={"input_file_id": "f"}, headers=at).status_code == 502
    assert provider.stats().requests == 1
    provider.script("500")
    said = call(gateway, "POST", "/v1/audio/speech", json={"model": "patient", "input": "x"})
    assert said.status_code == 200
    assert len(record(gateway, said)[1]["attempts"]) == 2


def test_large_answers_are_streamed(gateway: Gateway, provider: FakeProvider) -> None:
    """Sixteen megabytes come whole, and are not kept."""
    provider.script("ok;size_bytes=16777216")
    answer = call(gateway, "POST", "/v1/audio/speech", json={"model": "voice", "input": "x"})
    assert len(answer.content) == 16 * 1024 * 1024
    assert record(gateway, answer)[1]["response"]["bytes"] == len(answer.content)
