"""What several roles are made of: clock, ledger, keys, TLS."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from airboss.compose.stores import open_audit
from airboss.config import Config, ProviderConfig, TlsConfig, parse_config
from airboss.config.rules import is_reference
from airboss.domain.errors import DataDirLocked, SetupError
from airboss.store.datadir import DataDir, Secret, alive, private, read_secret
from airboss.store.datadir_lock import flock_folder
from airboss.supervisor import runfiles
from airboss.supervisor.lifeline import LIFELINE_ENV
from airboss.supervisor.listen import check_free, port_of, url

if TYPE_CHECKING:
    import ssl

    from airboss.compose.redaction import LogRedactor
    from airboss.domain.plan import ServingPlan, Target
    from airboss.domain.ports import Ledger
    from airboss.governance.ledger_notes import LedgerNotes
    from airboss.store.audit_rows import AuditLog
    from airboss.store.plan_source import PlanSource
    from airboss.telemetry.metrics import Counts
    from airboss.telemetry.remote import Nodes

ADMIN_KEY_ENV = "AIRBOSS_ADMIN_KEY"
API_KEY_ENV = "AIRBOSS_API_KEY"
ADMIN_KEY_CHARS_MIN = 16
"""Guesses are slowed down to ten a minute from one address; a preset key must be worth that."""
LAST_RUN_S = 40.0
"""So long we wait for what the last run left behind: a gateway may be finishing calls for 30 s."""
VERB_S = 10.0
"""So long a verb, such as `airboss status`, may have the data of a stopped Airboss on a busy machine."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never step backwards."""
        return time.monotonic()


@contextmanager
def open_ledger(data: DataDir) -> Iterator[Ledger]:
    """The ledger of a data directory, closed at the end."""
    from airboss.store.ledger import SqlLedger  # noqa: PLC0415 - SQLAlchemy, where it is needed

    ledger = SqlLedger(data.ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def open_plans(data: DataDir) -> Iterator[PlanSource]:
    """The ledger as gateways read it, closed at the end: of one on a server that is away what was kept here.
    Raises SetupError where there is neither."""
    from airboss.store.ledger_rows import SCHEMA  # noqa: PLC0415 - only who reads plans
    from airboss.store.ledger_sqlite import SqlitePlans, schema_of  # noqa: PLC0415 - as above
    from airboss.store.ledger_url import file_of  # noqa: PLC0415 - as above

    url = data.ledger_url
    file = file_of(url)
    if file is not None:
        if schema_of(file) != SCHEMA:
            with open_ledger(data):
                pass  # which brings it up to date, or says what is wrong
        with closing(SqlitePlans(file)) as read:
            yield read
        return
    from airboss.store.kept_plan import KeptPlans, PlanFile  # noqa: PLC0415 - SQLAlchemy, where it is needed
    from airboss.store.ledger import SqlLedger  # noqa: PLC0415 - as above

    with closing(SqlLedger(url, late=True)) as ledger:
        plans = KeptPlans(ledger, PlanFile(data.plan_dir, url), now=SystemClock().now)
        plans.begin()
        yield plans


@contextmanager
def role_lock(data: DataDir) -> Iterator[None]:
    """Hold the data directory for a role that was started alone; under `airboss up` its lock was handed down.

    Roles started alone share the lock among themselves and exclude `airboss up`. What is written meanwhile is
    closed to others. A verb that looks at what is stopped is waited for, and so are the children of an
    `airboss up` that was killed. Raises DataDirLocked.
    """
    if LIFELINE_ENV in os.environ:
        with private():
            yield
        return
    data.create()
    with (
        private(),
        os.fdopen(os.open(data.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file,
        ExitStack() as held,
    ):
        began = time.monotonic()
        while not _shared(data, file.fileno(), held):
            up, waited_s = running(data.path), time.monotonic() - began
            if up is not None and alive(up.pid):
                raise DataDirLocked(
                    f"{data.path} is open in another Airboss (process {up.pid}), which runs this role"
                    " itself; stop that one, or choose another with --data-dir"
                )
            if waited_s >= (VERB_S if up is None else LAST_RUN_S):
                raise DataDirLocked(data.lock_message())
            time.sleep(0.02)
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), f"{os.getpid()}\n".encode(), 0)
        yield


def _shared(data: DataDir, file: int, held: ExitStack) -> bool:
    """Share the lock of the data directory and of its file; False where somebody has one for himself."""
    try:
        if (folder := flock_folder(data.path, fcntl.LOCK_SH)) >= 0:
            held.callback(os.close, folder)
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return False
    return True


def applied_config(ledger: PlanSource, data: DataDir) -> Config:
    """The configuration in force. Raises SetupError before the first.

    Under `airboss up` it has the [tls] that `up` started with: a changed one must not come into force with a
    process that happens to be started again, while its neighbours and the URLs stay as they were.
    """
    text = ledger.config()
    if text is None:
        raise SetupError("no configuration has been applied yet; run `airboss apply airboss.toml` first.")
    config = parse_config(text, source="the configuration in force")
    up = runfiles.read_up(data.run_dir) if LIFELINE_ENV in os.environ else None
    return config if up is None else msgspec.structs.replace(config, tls=up.tls)


def preset_key(name: str) -> str:
    """The key that a variable presets, empty if none, without blanks around it, as every secret: one that is
    mounted from a file often ends in a line break. Raises SetupError for one that no header carries."""
    key = os.environ.get(name, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SetupError(
            f"{name} has a space, a line break or a letter that no key has, so that nobody could send it: "
            "set another, such as `openssl rand -hex 24` makes, or unset it and one is made"
        )
    return key


def preset_admin_key(data: DataDir) -> Secret:
    """The admin key, from the environment or kept. Raises SetupError for a preset one that can be guessed."""
    preset = preset_key(ADMIN_KEY_ENV)
    if 0 < len(preset) < ADMIN_KEY_CHARS_MIN:
        raise SetupError(
            f"{ADMIN_KEY_ENV} has {len(preset)} characters, and an admin key has {ADMIN_KEY_CHARS_MIN} "
            "at least: set a longer one, such as `openssl rand -hex 24` makes, or unset it and one is made"
        )
    return data.secret("admin_key", preset)


def own_keys(data: DataDir) -> tuple[str, tuple[str, ...]]:
    """The admin key, and every secret of ours that no record or log may show."""
    admin = preset_admin_key(data).value
    api = data.secret("api_key", preset_key(API_KEY_ENV)).value
    internal = data.secret("internal_key").value
    return admin, (admin, api, internal, data.secret("session_key").value)


def internal_key(ledger: Ledger, data: DataDir) -> str:
    """The data-plane key of our own calls, made known to gateways where it is not yet.

    Only this key may name the release that it wants, and what it calls never counts as traffic.
    """
    from airboss.domain.ports import ApiKey  # noqa: PLC0415 - small, but only here
    from airboss.governance.keys import hash_key  # noqa: PLC0415 - as above
    from airboss.store.alert_metrics import INTERNAL_KEY  # noqa: PLC0415 - as above

    secret = data.secret("internal_key").value
    snapshot = ledger.snapshot()
    held = {key.name: key.sha256 for key in snapshot.keys} if snapshot is not None else {}
    if held.get(INTERNAL_KEY) != hash_key(secret):
        made = datetime.now(UTC)
        key = ApiKey(name=INTERNAL_KEY, sha256=hash_key(secret), created_at=made, internal=True)
        with open_audit(data) as audit:
            ledger_notes(ledger, audit).change_key(INTERNAL_KEY, lambda _: key, action="keys.start")
    return secret


def ledger_notes(ledger: Ledger, audit: AuditLog) -> LedgerNotes:
    """Plans and keys that change with leaves that say so."""
    from airboss.governance.ledger_notes import LedgerNotes  # noqa: PLC0415 - who changes keys

    return LedgerNotes(ledger, audit, SystemClock())


def redactor(ledger: PlanSource, own_secrets: tuple[str, ...]) -> LogRedactor:
    """Takes our secrets and the providers' of now out of log lines; it can be told of others."""
    from airboss.compose.redaction import LogRedactor, secrets_in_force  # noqa: PLC0415 - roles with secrets

    return LogRedactor([*secrets_in_force(ledger), *own_secrets])


def provider_key(target: Target) -> str | None:
    """The key to send to a provider; raises Unavailable if it cannot be had."""
    from airboss.governance.secrets import provider_key as found  # noqa: PLC0415 - the gateway's own

    return found(target, env=os.environ, read=read_secret)


def models_of(wanted: Mapping[str, ProviderConfig]) -> Mapping[str, tuple[str, ...] | str]:
    """What providers list, asked now: `config.found.Ask`."""
    from airboss.controller.models_http import ModelLists  # noqa: PLC0415 - where somebody is asked
    from airboss.governance.secrets import found_secret  # noqa: PLC0415 - as above

    return ModelLists(lambda ref, name: found_secret(ref, name, env=os.environ, read=read_secret)[0])(wanted)


def missing_keys(target: Target) -> tuple[str, ...]:
    """Why keys of a target cannot be had where this process was started, as every other one of its kind."""
    from airboss.governance.secrets import missing_keys as missing  # noqa: PLC0415 - as above

    return missing(target, env=os.environ, read=read_secret)


def secrets_to_warn_of(plan: ServingPlan, config: Config) -> tuple[str, ...]:
    """What to say of each provider's key, notifier's secret and server's URL that is needed and not there."""
    from airboss.compose.servers import unknown  # noqa: PLC0415 - the controller's own
    from airboss.compose.watching import secret  # noqa: PLC0415 - as above

    whys = dict.fromkeys(why for target in plan.targets() for why in missing_keys(target))
    found = [f"{why}; until then calls that need it get 503" for why in whys]
    for name, notifier in config.notifiers.items():
        email = notifier.email.password if notifier.email is not None else None
        for reference in (notifier.webhook, notifier.slack, notifier.secret, email):
            if reference is not None and is_reference(reference):
                try:
                    secret(reference)
                except SetupError as error:
                    found.append(f"notifiers.{name}: {error}; until it is there, this notifier tells nobody")
    if config.oidc is not None and config.oidc.client_secret is not None:
        try:
            secret(config.oidc.client_secret)
        except SetupError as error:
            found.append(f"oidc.client_secret: {error}; until it is there, people sign in with keys alone")
    return (*found, *unknown(config.store))


def tls_context(tls: TlsConfig | None) -> ssl.SSLContext | None:
    """How to speak TLS, or None where none is configured. Raises SetupError for files that will not do."""
    if tls is None:
        return None
    import ssl  # noqa: PLC0415 - 5 ms of a store, which speaks to nobody

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(_tls_fault(tls, error)) from error
    return context


def _tls_fault(tls: TlsConfig, error: OSError) -> str:
    """What is wrong with the files, the first thing of it."""
    for name, file, holds in (("cert", tls.cert, "CERTIFICATE"), ("key", tls.key, "PRIVATE KEY")):
        try:
            text = Path(file).read_bytes()
        except OSError as unread:
            return f"[tls] {name} {file} cannot be read: {unread.strerror}"
        if f"{holds}-----".encode() not in text:
            return f"[tls] {name} {file} holds no {holds.lower()} in PEM (-----BEGIN … {holds}-----)"
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"[tls] key {tls.key} is not the key of the certificate in {tls.cert}"
    return f"[tls] cert {tls.cert} and key {tls.key} cannot be used: {error}"


def publish(
    ledger: Ledger, data: DataDir, text: str, source: str, *, retry_failed: bool = True
) -> ServingPlan:
    """Apply a configuration. Raises ConfigError. Engines that have failed are tried again, unless told not
    to."""
    from airboss.controller.publish import apply_config  # noqa: PLC0415 - only who publishes
    from airboss.controller.rollout_rows import superseded  # noqa: PLC0415 - as above
    from airboss.store.rollouts import SqlRolloutStore  # noqa: PLC0415 - as above

    now = datetime.now(UTC)

    def supersede(deployment: str, reason: str) -> None:
        superseded(kept, deployment, reason, now=now)

    with closing(SqlRolloutStore(data.ledger_url)) as kept, open_audit(data) as audit:
        return apply_config(
            ledger,
            text,
            source=source,
            data=data,
            pick_port=pick_port,
            now=now,
            supersede=supersede,
            retry_failed=retry_failed,
            notes=ledger_notes(ledger, audit),
        )


def machines(data: DataDir) -> Nodes:
    """The machines that have joined the Airboss of a data directory, and what they bring."""
    from airboss.telemetry.remote import Nodes  # noqa: PLC0415 - only who moves records

    return Nodes(data.journal_dir, data.nodes_path, SystemClock())


def counts_of(data: DataDir, nodes: Nodes, *, but: str = "") -> Callable[[], dict[str, Counts]]:
    """What the processes of all machines count, by name, but for one of this machine."""
    from airboss.telemetry.metrics import read_counts  # noqa: PLC0415 - only the controller asks

    return lambda: {**read_counts(data.metrics_dir, but=but), **nodes.counts()}


def pick_port() -> int:
    """A port on loopback that is free now."""
    return check_free("127.0.0.1", 0, flag="--port")


def starting(data_dir: Path) -> int | None:
    """The process of the Airboss that is about to serve this data directory, or None if there is none."""
    data = DataDir(data_dir)
    pid = runfiles.read_starting(data.run_dir)
    return pid if pid is not None and pid == data.holder() and _locked(data) else None


def running(data_dir: Path) -> runfiles.UpFile | None:
    """Where the Airboss on this data directory listens, or None if none is running there."""
    data = DataDir(data_dir)
    up = runfiles.read_up(data.run_dir)
    return up if up is not None and _locked(data) else None


def alone(data_dir: Path) -> runfiles.UpFile | None:
    """Where the controller listens that was started alone on this data directory; None if there is none."""
    said = runfiles.read_alone(DataDir(data_dir).run_dir)
    return said if said is not None and alive(said.pid) else None


@contextmanager
def found_alone(data: DataDir, listener: socket.socket, host: str, tls: TlsConfig | None) -> Iterator[None]:
    """Let verbs find a controller that was started alone; of another one `airboss up` says where it is."""
    if LIFELINE_ENV in os.environ:
        yield
        return
    address = url(host, port_of(listener), tls=tls is not None)
    now = datetime.now(UTC)
    up = runfiles.UpFile(pid=os.getpid(), base_url="", console_url=address, started_at=now, tls=tls)
    runfiles.write_alone(data.run_dir, up)
    try:
        yield
    finally:
        runfiles.forget_alone(data.run_dir)


def _locked(data: DataDir) -> bool:
    """Whether one process has the data directory for itself."""
    # Shared and given back at once: an `airboss up` that starts just now waits longer than this.
    try:
        if (folder := flock_folder(data.path, fcntl.LOCK_SH)) >= 0:
            os.close(folder)
    except BlockingIOError:
        return True
    with suppress(OSError), data.lock_path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
