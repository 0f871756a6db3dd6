"""AWS's signatures and frames, against values that others have made."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import UpstreamFailed
from airboss.gateway.sse import event_data
from airboss.providers.aws_frames import AwsFrames
from airboss.providers.aws_sign import Credentials, authorise_aws, credentials_of, signed
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.dialect import Unsigned
from airboss.providers.fake_bedrock import frame, framed

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def unsigned(host: str, path: str, body: bytes, at: datetime) -> Unsigned:
    """A request."""
    return Unsigned(host=host, path=path, body=body, at=at.timestamp())


def test_a_signature_is_the_one_of_awss_own_suite() -> None:
    """`post-vanilla` of the AWS Signature Version 4 test suite."""
    request = unsigned("example.amazonaws.com", "/", b"", datetime(2015, 8, 30, 12, 36, tzinfo=UTC))
    credentials = Credentials(access_key="AKIDEXAMPLE", secret_key=SECRET)
    headers = signed(request, credentials, region="us-east-1", service="service")
    assert headers == {
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 "
        "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, "
        "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    }


@pytest.mark.parametrize(
    ("path", "body", "token", "signature"),
    [
        (
            "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
            b'{"a":1}',
            "",
            "e03c019182cb46255bfd12116bb4868dc5b2a479197280a0eede0b2ff2ef9d96",
        ),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123%3Ainference-profile%2Fx/converse-stream",
            b"{}",
            ":tok/en+=",
            "c7afe6bed07d102341304b7ca14bca2ce24794067b267b5689591a7ed32885e1",
        ),
    ],
    ids=["a model", "a profile with a token"],
)
def test_a_signature_is_botocores(path: str, body: bytes, token: str, signature: str) -> None:
    """The signatures that botocore 1.44.5 makes of the same requests: paths are encoded twice."""
    at = datetime(2026, 11, 24, 4, 30, 9, tzinfo=UTC)
    request = unsigned("bedrock-runtime.us-east-1.amazonaws.com", path, body, at)
    headers = authorise_aws(request, f"AKIDEXAMPLEEXAMPLE12:{SECRET}{token}", region="us-east-1")
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert headers.get("x-amz-security-token", "") == token.removeprefix(":")


@pytest.mark.parametrize("secret", ["bedrock-api-key-abc", "ABSK:notakey", "a:b", "AKIDEXAMPLEEXAMPLE12"])
def test_other_keys_are_bearers(secret: str) -> None:
    """What is no access key is a key of Bedrock's own."""
    assert credentials_of(secret) is None
    request = unsigned("h", "/", b"", datetime.now(UTC))
    assert authorise_aws(request, secret, region="r") == {"authorization": f"Bearer {secret}"}


FRAMES = b"".join(
    (
        frame("messageStart", b'{"role":"assistant"}'),
        frame("contentBlockDelta", '{"delta":{"text":"ä"}}'.encode()),
        frame("throttlingException", b'{"message":"slow"}', exception=True),
    )
)
EVENTS = [
    b'{"messageStart":{"role":"assistant"}}',
    '{"contentBlockDelta":{"delta":{"text":"ä"}}}'.encode(),
    b'{"throttlingException":{"message":"slow"},"failed":true}',
]


@given(st.lists(st.integers(0, len(FRAMES)), max_size=12))
def test_frames_are_cut_wherever_they_come(cuts: list[int]) -> None:
    """However the bytes come, the events are the same."""
    frames = AwsFrames()
    places = sorted({0, *cuts, len(FRAMES)})
    found = [event for a, b in pairwise(places) for event in frames.feed(FRAMES[a:b])]
    assert [event_data(event) for event in found] == EVENTS
    assert frames.rest == b""


@pytest.mark.parametrize(
    "said",
    [
        frame("modelNotReadyException", b'{"message":"warming up"}', exception=True),
        framed({":message-type": "error", ":error-code": "Busy", ":error-message": "warming up"}, b""),
    ],
    ids=["an exception of a later version", "an error without a type"],
)
def test_failures_that_nobody_knows_are_failures(said: bytes) -> None:
    """They end the answer with what they say, as a defect of the provider's."""
    (event,) = AwsFrames().feed(said)
    data = event_data(event)
    assert data is not None
    (told,) = BedrockReader(7, id="b", model="m", answer_tool=None).event(data)
    found = json.loads(told)["error"]
    assert found["code"] == 502
    assert "warming up" in found["message"]


@given(st.integers(0, len(FRAMES) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, flip: int) -> None:
    """Checksums hold every byte: what is wrong is never passed on as an event."""
    broken = bytearray(FRAMES)
    broken[at] ^= flip
    frames = AwsFrames()
    try:
        found = [event_data(event) for event in frames.feed(bytes(broken))]
    except UpstreamFailed:
        return
    # A length that grew waits for bytes that do not come.
    assert found == EVENTS[: len(found)]
    assert len(found) < len(EVENTS)


@given(st.binary(max_size=200))
def test_nonsense_never_breaks_the_reader(data: bytes) -> None:
    """Whatever comes, it is an event, a wait or an upstream's failure."""
    frames = AwsFrames()
    try:
        frames.feed(data)
    except UpstreamFailed:
        return
    assert len(frames.rest) <= len(data)
