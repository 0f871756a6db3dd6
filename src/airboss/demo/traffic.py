"""Traffic as an app would make it: calls by many users, and what they thought of the answers."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self

import httpx2

from airboss.demo.reviews import Review, right

CALL_S = 30.0
PAUSE_S = 0.2


class Traffic:
    """So many users at once that ask for the label of a review, and say whether the answer was right.

    Each call is by another user, `pause_s` after the last. `answers` counts what came back by arm and whether
    it was right; `failed` counts calls that brought no answer.
    """

    def __init__(
        self, base_url: str, api_key: str, model: str, asked: Sequence[Review], *, at_once: int = 2
    ) -> None:
        self.answers: Counter[tuple[str, bool]] = Counter()
        self.failed = 0
        self.pause_s = 0.0
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {api_key}"}
        self._model = model
        self._asked = asked
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"user-{number}", daemon=True)
            for number in range(at_once)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(CALL_S)

    def shares(self) -> dict[str, tuple[int, int]]:
        """Right answers and all answers, by arm."""
        with self._lock:
            arms = {arm for arm, _ in self.answers}
            return {
                arm: (self.answers[arm, True], self.answers[arm, True] + self.answers[arm, False])
                for arm in sorted(arms)
            }

    def forget(self) -> None:
        """Count anew."""
        with self._lock:
            self.answers.clear()

    def _run(self) -> None:
        with httpx2.Client(base_url=self._base_url, headers=self._headers, timeout=CALL_S) as client:
            while not self._stop.is_set():
                try:
                    self._call(client, next(self._numbers))
                except (httpx2.HTTPError, KeyError, ValueError):
                    with self._lock:
                        self.failed += 1
                    self._stop.wait(PAUSE_S)
                self._stop.wait(self.pause_s)

    def _call(self, client: httpx2.Client, number: int) -> None:
        review, user = self._asked[number % len(self._asked)], f"reader-{number}"
        messages = [{"role": "user", "content": review.text}]
        body = {"model": self._model, "messages": messages, "user": user}
        response = client.post("/chat/completions", json=body)
        response.raise_for_status()
        answer = response.json()["choices"][0]["message"]["content"]
        correct = right(answer, review.label)
        with self._lock:
            self.answers[response.headers["x-airboss-arm"], correct] += 1
        opinion = {"record_id": response.headers["x-request-id"], "name": "correct", "value": correct}
        client.post("/feedback", json=opinion | {"user": user}).raise_for_status()
