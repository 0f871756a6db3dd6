"""What stands in deploy/, read as a cluster would read it, and an image's file as a builder would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
EXAMPLE = DEPLOY / "kubernetes" / "example"
TLS = DEPLOY / "kubernetes" / "tls"

Manifest = dict[str, Any]


@cache
def kustomization(folder: Path) -> Manifest:
    """What a folder's kustomization.yaml says."""
    found: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return found


@cache
def manifests(folder: Path) -> dict[tuple[str, str], Manifest]:
    """The objects in the files that a kustomization names, by kind and name. Folders are left."""
    names = [name for name in kustomization(folder)["resources"] if name.endswith(".yaml")]
    found = [each for name in names for each in yaml.safe_load_all((folder / name).read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def pods() -> dict[str, Manifest]:
    """The pods of both StatefulSets, by their names."""
    return {name: each["spec"]["template"] for (kind, name), each in manifests(BASE).items() if kind == SETS}


SETS = "StatefulSet"


def container(name: str) -> Manifest:
    """The one container of a pod."""
    [found] = pods()[name]["spec"]["containers"]
    return dict(found)


@cache
def compose() -> Manifest:
    """deploy/compose.yaml."""
    found: Manifest = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


@cache
def containerfile() -> tuple[tuple[str, str], ...]:
    """The instructions of deploy/Containerfile, each with what it is told."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return tuple((word, told) for word, _, told in (line.partition(" ") for line in lines) if word)


def told(instruction: str) -> Iterator[str]:
    """What each instruction of that name is told."""
    return (what for word, what in containerfile() if word == instruction)


def at(document: Any, pointer: str) -> Any:
    """What a JSON pointer leads to. Raises KeyError, IndexError."""
    for part in pointer.strip("/").split("/"):
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
