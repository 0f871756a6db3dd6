"""Machines that have joined, in the admin API: what they bring, and how they stand."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from airboss import __version__
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, Unavailable
from airboss.telemetry.remote import PIECE_BYTES_MAX, Node, Nodes, Report

if TYPE_CHECKING:
    from airboss.store.plan_source import PlanSource


class NodesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The machines, by name. `ledger` is the same for all that work with one ledger, and null before anything
    was applied."""

    version: str
    ledger: str | None
    nodes: tuple[Node, ...]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes of a segment are here, on disk."""

    held: int


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """`name` was heard."""

    name: str


def list_nodes(desk: Desk, _call: Call) -> NodesAnswer:
    """GET /api/v1/nodes."""
    return NodesAnswer(
        version=__version__, ledger=ledger_mark(desk.ledger), nodes=tuple(nodes_of(desk).all())
    )


def hear_node(desk: Desk, call: Call) -> Heard:
    """POST /api/v1/nodes."""
    report = call.intent(Report)
    if nodes_of(desk).hear(report):
        desk.note(call, "node.join", f"node {report.name}", {"version": report.version})
    return Heard(name=report.name)


def take_frames(desk: Desk, call: Call) -> Held:
    """POST /api/v1/nodes/{name}/journals/{journal}/{segment}."""
    at = call.params.get("at", "")
    if not at.isascii() or not at.isdigit() or len(at) > 15:
        raise InvalidRequest(f"at is {at[:20]!r}; give where the frames begin, in bytes", param="at")
    path = call.path
    return Held(held=nodes_of(desk).take(path["name"], path["journal"], path["segment"], int(at), call.body))


def end_journal(desk: Desk, call: Call) -> Heard:
    """POST /api/v1/nodes/{name}/journals/{journal}/ended."""
    nodes_of(desk).end(call.path["name"], call.path["journal"])
    return Heard(name=call.path["name"])


def leave_node(desk: Desk, call: Call) -> Heard:
    """POST /api/v1/nodes/{name}/leave."""
    name = call.path["name"]
    if nodes_of(desk).leave(name):
        desk.note(call, "node.leave", f"node {name}")
    return Heard(name=name)


def forget_node(desk: Desk, call: Call) -> Heard:
    """POST /api/v1/nodes/{name}/forget."""
    name = call.path["name"]
    nodes_of(desk).forget(name)
    desk.note(call, "node.forget", f"node {name}")
    return Heard(name=name)


def nodes_of(desk: Desk) -> Nodes:
    """The machines of a desk. Raises Unavailable where none can join."""
    if desk.nodes is None:
        raise Unavailable("no machine can join this one")
    return desk.nodes


def ledger_mark(ledger: PlanSource) -> str | None:
    """What tells one ledger from others, and tells nothing else: it follows from the key of Airboss's own."""
    snapshot = ledger.snapshot()
    own = next((key for key in snapshot.keys if key.internal), None) if snapshot is not None else None
    return hashlib.sha256(f"ledger {own.sha256}".encode()).hexdigest()[:32] if own is not None else None


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/nodes",
        summary="Machines that serve calls for this Airboss, and how they stand",
        handle=list_nodes,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/nodes",
        summary="Says how a joined machine stands; the first time, it joins",
        handle=hear_node,
        role="admin",
        body=Report,
    ),
    Route(
        method="POST",
        path="/api/v1/nodes/{name}/leave",
        summary="A joined machine stops, having brought everything",
        handle=leave_node,
        role="admin",
    ),
    Route(
        method="POST",
        path="/api/v1/nodes/{name}/forget",
        summary="Gives up what a joined machine has not brought: it is gone for good",
        handle=forget_node,
        role="admin",
    ),
    Route(
        method="POST",
        path="/api/v1/nodes/{name}/journals/{journal}/ended",
        summary="A gateway of a joined machine has ended, and all of its journal is here",
        handle=end_journal,
        role="admin",
    ),
    Route(
        method="POST",
        path="/api/v1/nodes/{name}/journals/{journal}/{segment}",
        summary="Frames of a joined machine's journal, as they are",
        handle=take_frames,
        role="admin",
        params={"at": "where in the segment they begin, in bytes"},
        body=bytes,
        body_max=PIECE_BYTES_MAX,
    ),
)
"""Every route of joined machines."""
