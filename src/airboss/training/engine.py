"""The engine asked how it renders and cuts up messages: `examples.Reader` by llama.cpp's own server."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from airboss.domain.errors import SetupError
from airboss.replicas.gguf import read_metadata
from airboss.replicas.llamacpp import EngineShape, start
from airboss.training.examples import lessons, read_examples
from airboss.training.order import Lessons


def prepare(weights: Path, files: Sequence[Path], *, max_tokens: int) -> Lessons:
    """The lessons of the files, the training examples' and perhaps the validation's. For a process of its
    own: the engine stays in it, with its memory. Raises SetupError."""
    examples = [read_examples(each) for each in files]
    ends = read_metadata(weights).ends
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = start(weights, (), port, "lessons", EngineShape(context_tokens=256, slots=1, threads=1))
    with httpx2.Client(base_url=server.listening_address, timeout=60, trust_env=False) as client:
        reader = _Asking(client)
        found = [[each for one in file for each in lessons(one, reader, ends)] for file in examples]
    kept = [[each for each in one if len(each.ids) <= max_tokens] for one in found]
    if not kept[0]:
        raise SetupError(f"every training example is longer than {max_tokens} tokens; give shorter ones.")
    left_out = sum(map(len, found)) - sum(map(len, kept))
    return Lessons(training=kept[0], validation=kept[1] if len(kept) > 1 else [], left_out=left_out)


class _Asking:
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[Any]) -> str:
        """As `Reader`. A chat request is rendered in this very way."""
        asked: dict[str, Any] = {"messages": messages} | ({"tools": tools} if tools else {})
        return str(self._post("/apply-template", asked)["prompt"])

    def cut(self, text: str, *, begins: bool) -> list[int]:
        """As `Reader`. A chat's prompt is cut up in this very way."""
        said = {"content": text, "add_special": begins, "parse_special": True}
        tokens: list[int] = self._post("/tokenize", said)["tokens"]
        return tokens

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(path, json=body)
        if answer.status_code != 200:
            raise SetupError(f"the engine cannot render an example: {answer.text[:500]}")
        return answer.json()
