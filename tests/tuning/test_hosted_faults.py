"""Training at a provider that answers anything at all: a training fails in words, and nothing breaks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airboss.tuning import hosted_http
from airboss.tuning.hosted import HostedTrainer, Waits
from airboss.tuning.hosted_http import Provider
from airboss.tuning.ports import TrainingFailed
from tests.tuning.test_hosted import KEY, order

BRIEF = Waits(look_s=0.01, look_s_max=0.02, failing_s=0.1, silent_s=0.1, job_s=0.3)

EVENTS = {"data": [{"id": "e", "data": {"step": 1, "train_loss": 1.5}}]}
ANSWERS: dict[str, Any] = {
    "POST /files": {"id": "file-1"},
    "GET /files": {"data": []},
    "GET /fine_tuning/jobs": {"data": []},
    "POST /fine_tuning/jobs": {"id": "job-1"},
    "GET /fine_tuning/jobs/job-1": {"id": "job-1", "status": "succeeded", "fine_tuned_model": "ft:m"},
    "GET /fine_tuning/jobs/job-1/events": EVENTS,
}
"""What one says where all is well."""

Serve = Callable[..., HostedTrainer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A provider that answers as ANSWERS but for what it is given, as bytes or as JSON."""
    said: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            found = said.get(f"{self.command} {self.path.partition('?')[0]}", {})
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - as the server calls them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def started(**other: Any) -> HostedTrainer:
        said.update({**ANSWERS, **other})
        url = f"http://127.0.0.1:{server.server_address[1]}"
        return HostedTrainer(lambda: Provider("odd", url, KEY), waits=BRIEF)

    yield started
    server.shutdown()
    thread.join()
    server.server_close()


def quiet(done: int, total: int, _note: str) -> None:
    """What the ledger can keep of a report."""
    assert 0 <= done < 2**31
    assert 0 <= total < 2**31


ODD: tuple[Any, ...] = (
    b"<html>",
    b"[" * 100_000,
    b"1" * 5_000,
    [],
    {},
    {"data": 7, "id": 7.5},
    {"data": ["x", {"id": ["x"]}, {"id": "x", "metadata": "m", "filename": 1}], "id": "../x", "has_more": 1},
    {"data": [{"id": "x", "metadata": ["airboss"]}], "status": "failed", "error": "it broke"},
    {"status": "succeeded", "fine_tuned_model": "a\nb", "id": None},
    {"status": "succeeded", "fine_tuned_model": "\ud800"},
    {"status": ["running"], "error": 3},
)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("path", ANSWERS)
def test_whatever_a_provider_says_is_told_in_words(serve: Serve, tmp_path: Path, path: str, odd: Any) -> None:
    """A training ends well or with TrainingFailed, and who abandons it raises nothing."""
    wanted = order(tmp_path)
    trainer = serve(**{path: odd})
    with suppress(TrainingFailed):
        assert trainer.train(wanted, quiet).fields == {"model": "ft:m"}
    (wanted.work / "hosted.json").write_text('{"begun_at": 0, "training": "file-1", "asked": true}')
    trainer.abandon(wanted)


def test_numbers_without_end_cost_no_model(serve: Serve, tmp_path: Path) -> None:
    """What was paid for is kept, whatever is said of its curve and its tokens."""
    huge = 10**400
    events = [
        {"id": "a", "data": {"step": huge, "train_loss": 1.0}},
        {"id": "b", "data": {"step": 1, "train_loss": huge, "valid_loss": float("nan")}},
        {"id": "c", "data": {"step": 2, "train_loss": 0.5, "total_steps": huge}},
    ]
    job = {**ANSWERS["GET /fine_tuning/jobs/job-1"], "trained_tokens": huge}
    trained = serve(
        **{"GET /fine_tuning/jobs/job-1": job, "GET /fine_tuning/jobs/job-1/events": {"data": events}}
    ).train(order(tmp_path), quiet)
    assert (trained.fields, trained.trained_tokens) == ({"model": "ft:m"}, None)
    assert [(each.step, each.training) for each in trained.losses] == [(2, 0.5)]


def test_steps_that_the_ledger_cannot_keep_are_not_told(serve: Serve, tmp_path: Path) -> None:
    """A job that is said to be at step 10^30 goes on; its state is cut."""
    running = {"id": "job-1", "status": "running"}
    events = {"data": [{"data": {"step": 10**30, "total_steps": 10**31}}, {"message": f"Step {'9' * 5000}"}]}
    trainer = serve(**{"GET /fine_tuning/jobs/job-1": running, "GET /fine_tuning/jobs/job-1/events": events})
    with pytest.raises(TrainingFailed, match="was not done in"):
        trainer.train(order(tmp_path), quiet)


def test_an_answer_without_end_ends(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes in time; all of it has its time too."""
    monkeypatch.setattr(hosted_http, "ANSWER_S", -1.0)
    with pytest.raises(TrainingFailed, match="does not end its answer"):
        serve(**{"GET /files": {"data": []}}).train(order(tmp_path), quiet)


def test_a_key_that_is_cut_off_is_no_key_shown(serve: Serve, tmp_path: Path) -> None:
    """Where a provider repeats the key at the very end of what is shown, no piece of it stays."""
    for at in range(280, 300):
        with pytest.raises(TrainingFailed) as caught:
            serve(**{"POST /files": b"x" * at + KEY.encode()}).train(order(tmp_path), quiet)
        assert "xxx" in str(caught.value)
        assert KEY[:4] not in str(caught.value)
