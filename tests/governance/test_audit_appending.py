"""What is added to the audit log: by whom, at once, and what it makes of what no leaf can hold."""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.errors import SetupError
from airboss.governance import audit
from airboss.governance.audit import DETAIL_BYTES_MAX, NAME_CHARS_MAX, Sealer, known_names
from airboss.store.audit import SqlAuditLog
from tests.governance.test_audit import NOW, SIGNER, checked, filled, opened, url


def test_what_no_leaf_can_hold_is_refused(tmp_path: Path) -> None:
    """A detail that is no JSON, and an action without a name, add nothing."""
    log = filled(tmp_path, 2)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("x", {"y": object()}),
        ("", {}),
        ("x" * 101, {}),
    ]
    for action, detail in wrong:
        with pytest.raises(ValueError):
            log.append(action, actor="a", subject="b", detail=detail, at=NOW)
    log.append("x", actor="a" * 5_000, subject="\ud800", detail={}, at=NOW)
    assert [each.leaf.number for each in log.newest(limit=10)] == [2, 1, 0]
    assert len(known_names(log.newest(limit=1)[0].names)["actor"]) == NAME_CHARS_MAX
    log.close()
    assert checked(tmp_path).valid


def test_what_was_done_is_told_however_much_there_is_to_say(tmp_path: Path) -> None:
    """Of a detail that no leaf has room for it holds the length and the digest."""
    log = filled(tmp_path, 2)
    detail = {"paths": ["p" * DETAIL_BYTES_MAX]}
    log.append("config.apply", actor="a", subject="b", detail=detail, at=NOW)
    said = json.dumps(detail, separators=(",", ":")).encode()
    leaf = audit.read_leaf(log.newest(limit=1)[0].leaf.content)
    assert leaf.detail == {"bytes": len(said), "sha256": hashlib.sha256(said).hexdigest()}
    log.close()
    assert checked(tmp_path).valid


def test_nothing_is_added_to_a_broken_head(tmp_path: Path) -> None:
    """The log says that it is damaged rather than going on from something else."""
    log = filled(tmp_path, 3)
    for change in ("size = 7", "size = 'abc'", "peaks = x'00'"):
        with opened(tmp_path) as found:
            found.execute(f"update audit_head set {change}")
        with pytest.raises(SetupError, match="airboss audit verify"):
            log.append("x", actor="a", subject="b", detail={}, at=NOW)
    log.close()


def _append_many(where: str, who: int, count: int) -> None:
    log = SqlAuditLog(where, Sealer(SIGNER))
    for number in range(count):
        log.append("x", actor=f"process {who}", subject="y", detail={"number": number}, at=NOW)
    log.close()


def test_processes_and_threads_append_at_once(tmp_path: Path) -> None:
    """Three processes and three threads lose nothing and fork nothing."""
    SqlAuditLog(url(tmp_path), Sealer(SIGNER)).close()
    threads = [threading.Thread(target=_append_many, args=(url(tmp_path), who, 20)) for who in range(3)]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        for thread in threads:
            thread.start()
        for done in [pool.submit(_append_many, url(tmp_path), 10 + who, 20) for who in range(3)]:
            done.result()
    for thread in threads:
        thread.join()
    verdict = checked(tmp_path)
    assert (verdict.valid, verdict.checked) == (True, 121), verdict
