"""The plan that this machine served last, kept on its disk: what a gateway starts from while the ledger, a
server, is away.

It serves then what a gateway serves that ran on: this plan, keys as hashes with their ends, nothing newer.
The file is one line with the sha256 of what follows, and that: it is replaced whole, by who holds a lock on
its folder, before what it holds is served. Where any of it is in doubt it is not used.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
import time
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from airboss import __version__
from airboss.domain.errors import SetupError
from airboss.domain.ports import Snapshot
from airboss.store.daemons import Daemons
from airboss.store.ledger_open import read_url
from airboss.store.ledger_rows import SCHEMA
from airboss.store.ledger_trouble import LedgerAway
from airboss.store.plan_source import KeptSnapshot, PlanSource
from airboss.store.whole_file import replace_file

OLD: Final = timedelta(hours=24)
"""A plan that the ledger has not been seen to have for so long is not started from."""
AHEAD: Final = timedelta(minutes=1)
"""Nor one of so far in the future: a clock is wrong, and nobody knows how old it is."""
AGAIN_S: Final = 60.0
"""So often it is written down that a plan is still the newest."""
RETRY_S: Final = 5.0
LOCK_S: Final = 1.0
"""So long another process of this machine, which writes the same, is waited for."""
SILENT_S: Final = 2.0
"""So long a ledger may say nothing at a start."""
UNKNOWN: Final = -1
"""The revision of a plan from disk, which no ledger has: its answer is another, and is read."""
BYTES_MAX: Final = 256 * 1024 * 1024
NEEDED: Final[Mapping[str, Collection[str]]] = {
    "gateway": ("max_body_bytes", "fsync_ms", "responses_days"),
    "store": ("bodies", "counters"),
    "tls": ("cert", "key"),
}

log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. `config` is of the configuration what a gateway starts with."""

    version: str
    schema: str
    ledger: str
    at: datetime
    config: str
    snapshot: Snapshot


class PlanFile:
    """The file of a data directory; `url` is the ledger's, of which a digest without the password is kept."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._path = folder / "last"
        self._ledger = hashlib.sha256(read_url(url).render_as_string(hide_password=True).encode()).hexdigest()

    def keep(self, config: str, snapshot: Snapshot, at: datetime, *, now: datetime) -> None:
        """Keep what the ledger had `at` a time; nothing happens where another process has kept what is as
        new. Raises OSError, and then nothing older is there any more either."""
        kept = Kept(
            version=__version__, schema=SCHEMA, ledger=self._ledger, at=at, config=config, snapshot=snapshot
        )
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with self._locked():
            if not self._is_behind(kept, now):
                return
            body = msgspec.json.encode(kept)
            try:
                replace_file(self._path, [hashlib.sha256(body).hexdigest().encode(), b"\n", body])
            except OSError:
                self._path.unlink(missing_ok=True)  # it may have keys that were revoked since
                raise

    def read(self, now: datetime) -> tuple[KeptSnapshot, str]:
        """What was kept last, and of the configuration what a gateway needs. Raises SetupError, which says
        why that is not used."""
        kept = self._read()
        if (kept.version, kept.schema) != (__version__, SCHEMA):
            whose = f"Airboss {kept.version} with schema {kept.schema}"
            raise self._unused(f"{whose} wrote it, and this is {__version__} with {SCHEMA}")
        if kept.ledger != self._ledger:
            raise self._unused("it is of another ledger")
        if now - kept.at > OLD:
            hours = OLD.total_seconds() / 3600
            raise self._unused(f"the ledger had it at {kept.at:%Y-%m-%d %H:%M} UTC, over {hours:.0f} h ago")
        if kept.at - now > AHEAD:
            raise self._unused(f"it is of {kept.at:%Y-%m-%d %H:%M} UTC, which is yet to come: set the clock")
        said_all = msgspec.structs.asdict(kept.snapshot) | {"revision": UNKNOWN, "kept_at": kept.at}
        return KeptSnapshot(**said_all), kept.config

    def _read(self) -> Kept:
        try:
            raw = self._bytes()
        except FileNotFoundError:
            raise SetupError("no plan was kept on this machine yet") from None
        except OSError as error:
            raise self._unused(error.strerror or str(error)) from error
        digest, _, body = raw.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise self._unused("it is torn, or was changed")
        try:
            return msgspec.json.decode(body, type=Kept)
        except msgspec.DecodeError as error:
            raise self._unused(f"no Airboss of this version wrote it ({error})") from error

    def _bytes(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            seen = os.fstat(descriptor)
            mine = stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid()
            if not mine or stat.S_IMODE(seen.st_mode) & 0o077 or seen.st_size > BYTES_MAX:
                raise self._unused("it is no file of this user's alone")
            return file.read()

    def _unused(self, why: str) -> SetupError:
        return SetupError(f"the plan kept in {self._path} is not used: {why}")

    def _is_behind(self, kept: Kept, now: datetime) -> bool:
        """Whether what is there is older, or no good; where it says the same, older by enough to tell."""
        try:
            held = self._read()
        except SetupError:
            return True
        whose = (held.version, held.schema, held.ledger) == (kept.version, kept.schema, kept.ledger)
        if not whose or held.at > now:
            return True
        as_new = (held.snapshot.revision, held.config) == (kept.snapshot.revision, kept.config)
        return held.at + timedelta(seconds=AGAIN_S / 2 if as_new else 0) < kept.at

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + LOCK_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise
                time.sleep(0.01)  # `flock` has no time-out, and a process that is stopped may hold it
            yield
        finally:
            os.close(descriptor)


class KeptPlans:
    """Implements `PlanSource`: the ledger, and where that is away at the start what was kept of it, until it
    answers. Whatever it says is kept before anybody is given it. One thread at a time asks."""

    def __init__(self, ledger: PlanSource, file: PlanFile, *, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._file = file
        self._now = now
        self._disk: tuple[KeptSnapshot, str] | None = None
        self._asked = False
        self._last: Snapshot | None = None
        self._due = 0.0
        self._failing = False

    def begin(self) -> None:
        """Ask the ledger, or take what is kept where it is away. Raises SetupError where neither will do."""
        asking: Future[Snapshot | None] = Daemons(1, "first plan").submit(self._ledger.snapshot)
        try:
            asking.result(SILENT_S)
        except TimeoutError:
            self._disk = self._usable(f"the ledger has been silent for {SILENT_S:g} s")
            if self._disk is None:
                asking.result()
        except LedgerAway as away:
            self._disk = self._usable(str(away))
            if self._disk is None:
                raise

    def _usable(self, away: str) -> tuple[KeptSnapshot, str] | None:
        try:
            kept = self._file.read(self._now())
        except SetupError as error:
            log.warning("%s; %s", away, error)
            return None
        log.warning(
            "%s; serving the plan that this machine had last, number %d, which the ledger had at %s UTC",
            away, kept[0].plan.number, f"{kept[0].kept_at:%Y-%m-%d %H:%M:%S}",
        )  # fmt: skip
        return kept

    def revision(self) -> int:
        """As `PlanSource.revision`; UNKNOWN while what was kept is all there is."""
        if self._disk is not None and not self._asked:
            self._asked = True  # at the start the ledger has just been found away
            return UNKNOWN
        at = self._now()
        try:
            found = self._ledger.revision()
        except LedgerAway:
            if self._disk is None:
                raise
            return UNKNOWN
        self._disk = None
        if self._last is not None and self._last.revision == found and time.monotonic() >= self._due:
            self._keep(self._last, at)
        return found

    def snapshot(self) -> Snapshot | None:
        """As `PlanSource.snapshot`."""
        if self._disk is not None:
            return self._disk[0]
        at = self._now()
        found = self._ledger.snapshot()
        if found is not None:
            self._keep(found, at)
        return found

    def config(self) -> str | None:
        """As `PlanSource.config`; of what was kept it is what a gateway needs."""
        return self._ledger.config() if self._disk is None else self._disk[1]

    def _keep(self, snapshot: Snapshot, at: datetime) -> None:
        try:
            self._file.keep(needed(self._ledger.config() or ""), snapshot, at, now=self._now())
            self._failing, self._due = False, time.monotonic() + AGAIN_S
        except OSError as error:
            if not self._failing:
                log.warning("cannot keep the plan for a start without the ledger: %s", error)
            self._failing, self._due = True, time.monotonic() + RETRY_S
        self._last = snapshot


def needed(config: str) -> str:
    """What a gateway needs of a configuration before it has a plan: no secret is in that."""
    said: dict[str, Any] = {}
    with suppress(tomllib.TOMLDecodeError):
        said = tomllib.loads(config)
    lines = [
        f"{section}.{name} = {msgspec.json.encode(value).decode()}\n"
        for section, names in NEEDED.items()
        for name, value in said.get(section, {}).items()
        if name in names
    ]
    return "".join(lines)
