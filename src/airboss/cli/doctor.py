"""`airboss doctor`: what stands in the way of a start, and what to do."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from airboss.cli import checks, oidc_checks, provider_checks, tls_checks
from airboss.cli.checks import Check, check_port, fail, ok, warn
from airboss.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_HOST,
    DataDirOption,
    HostOption,
    JsonOption,
    check_directory,
    has_data,
)
from airboss.cli.output import console, escape, print_json, table_of
from airboss.domain.errors import AirbossError, DataDirLocked
from airboss.store.wording import many

if TYPE_CHECKING:
    from airboss.config import Config


def doctor(
    *,
    config: Annotated[Path, typer.Option(help="Configuration to check.")] = Path("airboss.toml"),
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: HostOption = DEFAULT_HOST,
    port: Annotated[
        int | None,
        typer.Option(help="Port of the data plane; else the running one's, or 8700.", min=0, max=65535),
    ] = None,
    console_port: Annotated[
        int | None,
        typer.Option(help="Port of the control plane; else the running one's, or 8701.", min=0, max=65535),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Ask providers for their lists of models, with their keys.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine and this Airboss, and say what to do; exit 1 if something will not work."""
    check_directory(data_dir)
    found = [
        *machine(data_dir),
        *tried("port", ports(data_dir, host, port, console_port)),
        *state(data_dir, config, host, online=online),
    ]
    if as_json:
        for each in found:
            print_json(msgspec.to_builtins(each))
    else:
        show(found)
    if any(each.verdict == "fail" for each in found):
        raise typer.Exit(1)


def tried(name: str, found: Iterator[Check]) -> Iterator[Check]:
    """These checks; where one cannot be made, that is what is seen, and the others are made all the same."""
    try:
        yield from found
    except (AirbossError, OSError) as error:
        yield fail(name, str(error), "run airboss as the user whose data it is, or mend what it names")


def machine(data_dir: Path) -> Iterator[Check]:
    """What the machine offers."""
    from airboss.replicas.cores import usable_cores  # noqa: PLC0415 - only here

    yield checks.check_python()
    yield checks.check_cores(usable_cores())
    yield checks.check_avx2(checks.read("/proc/cpuinfo"), platform.machine())
    yield checks.check_engine()
    yield checks.check_memory(checks.read("/proc/meminfo"))
    yield checks.check_limits()
    yield checks.check_disk(data_dir)
    yield checks.check_writable(data_dir)


def ports(data_dir: Path, host: str, port: int | None, console_port: int | None) -> Iterator[Check]:
    """Whether the ports can be had, or are had by this Airboss; those that it has, where none are named."""
    from airboss.compose.parts import running  # noqa: PLC0415 - only here

    up = running(data_dir)
    asked = (("port", "--port", port, 8700), ("console port", "--console-port", console_port, 8701))
    for (name, flag, wanted, usual), url in zip(
        asked, (up.base_url, up.console_url) if up is not None else (None, None), strict=True
    ):
        has = urlsplit(url).port if url is not None else None
        one = wanted if wanted is not None else has or usual
        yield check_port(name, host, one, flag=flag, ours=one == has)


def state(data_dir: Path, path: Path, host: str, *, online: bool) -> Iterator[Check]:
    """The configuration, the weights, the providers, the lock and the record store."""
    from airboss.config import Config, parse_config  # noqa: PLC0415 - other verbs do not read it
    from airboss.config.files import STARTER_FILE, missing, read_config  # noqa: PLC0415 - as above
    from airboss.config.found import unasked  # noqa: PLC0415 - as above
    from airboss.config.parse import read_unchecked  # noqa: PLC0415 - as above

    config = Config()
    if not os.path.exists(path):  # noqa: PTH110 - which, unlike Path's, does not raise where it may not look
        if path.name == STARTER_FILE:
            yield ok("configuration", f"{path} is not there; the first `airboss up` writes a starter")
        else:
            seen, _, advice = missing(path).partition("; ")
            yield fail("configuration", seen, advice)
    else:
        try:
            text = read_config(path)
            config = read_unchecked(text, source=str(path))
            if every := unasked(config):
                yield ok(
                    "configuration", f"{path}; {', '.join(every)} will be asked for models: `airboss diff`"
                )
            else:
                config = parse_config(text, source=str(path))
                yield ok("configuration", f"{path}, {many(len(config.deployments), 'deployment')}")
        except (AirbossError, OSError) as error:
            why = f"{path} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            yield fail("configuration", why, "mend the file; `airboss export` prints the one in force")
    yield from tls_checks.check_tls(config.tls, host, datetime.now(UTC))
    yield from tried("[store]", servers(data_dir, config))
    yield from tried("[store] ledger", where_ledger(data_dir, config))
    yield from names(config)
    yield from tried("weights", weights(data_dir, config))
    yield from provider_checks.keys_there(config, os.environ)
    if online:
        yield from provider_checks.answers(config, os.environ)
    yield from oidc_checks.check_oidc(config.oidc, online=online)
    yield from tried("record store", data(data_dir))


def servers(data_dir: Path, config: Config) -> Iterator[Check]:
    """Whether the servers that `[store]` names can be had from here, and what their clocks say."""
    from airboss.compose.servers import APART_S, asked  # noqa: PLC0415 - only here
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - as above

    ledger = DataDir(data_dir).ledger_choice() or config.store.ledger
    for each in asked(config.store, ledger=ledger):
        name = f"[store] {each.name}"
        if each.unset is not None:
            advice = f"set {each.unset} where `airboss up` runs; this is what this shell has"
            yield warn(name, f"{each.unset} is not set here", advice)
        elif each.why is not None:
            yield fail(name, each.why, "mend the server or its URL; `airboss doctor` asks it again")
        elif abs(each.ahead_s) > APART_S:
            which = "ahead of" if each.ahead_s > 0 else "behind"
            seen = f"answers; its clock is {abs(each.ahead_s):.0f} s {which} this machine's"
            yield warn(name, seen, "let NTP set both: machines must agree within a second")
        else:
            yield ok(name, "answers, and its clock agrees")


def where_ledger(data_dir: Path, config: Config) -> Iterator[Check]:
    """Whether the configuration names the ledger that this Airboss has, and whether an old one is left."""
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - as above

    data, wanted = DataDir(data_dir), config.store.ledger
    if not data.has_ledger:
        return
    chosen = data.ledger_choice()
    named = [each[4:] for each in (wanted or "", chosen or "") if each.startswith("env:")]
    if all(map(os.environ.get, named)):  # of a variable that is not set `servers` tells
        try:
            data.check_ledger(wanted)
        except AirbossError as error:
            yield fail("[store] ledger", str(error), "the next `airboss up` does not start")
    if chosen is not None and data.has_ledger_file:
        seen = f"{data.ledger_path} is of before it was moved; forgetting a person does not reach it"
        yield warn("[store] ledger", seen, "delete it once you trust the new one")


def names(config: Config) -> Iterator[Check]:
    """Whether the names that policies look for can be found."""
    from airboss.governance.policies import INSTALL, NAMED, names_version, unfindable  # noqa: PLC0415 - as above

    for name, policy in config.policies.items():
        kinds = () if policy.pii is None else policy.pii.kinds
        reason = unfindable(kinds)
        if reason is not None:
            yield fail("policies", f"policies.{name}.pii.kinds: {reason}", INSTALL)
        elif not set(kinds or ()).isdisjoint(NAMED):
            yield ok("policies", f"{name}: names are found by {names_version()}")


def weights(data_dir: Path, config: Config) -> Iterator[Check]:
    """Whether local models have theirs."""
    from airboss.compose.up import local_models, weights_at_hand  # noqa: PLC0415 - only here
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - as above

    for name in local_models(config):
        model = config.models[name]
        sources = [source for source, _ in model.files()]
        files = [(each, Path(each.removeprefix("file:").removeprefix("//"))) for each in sources]
        gone = [source for source, path in files if source.startswith("file:") and not path.exists()]
        if gone:
            yield fail("weights", f"{name}: {gone[0]} is not there", "put the file there, or name another")
        elif weights_at_hand(model, DataDir(data_dir)):
            yield ok("weights", f"{name}: at hand")
        else:
            yield warn(
                "weights", f"{name}: not here yet", f"the next `airboss up` fetches {' and '.join(sources)}"
            )


def data(data_dir: Path) -> Iterator[Check]:
    """Who has the data directory open, and whether the record store answers."""
    from airboss.cli.api import reach  # noqa: PLC0415 - only here

    if not has_data(data_dir):
        yield ok("record store", "no data yet; the first `airboss up` makes it")
        return
    try:
        with reach(data_dir, None) as api:
            status = api.get("/api/v1/status")
            journal = status["journal"]
            yield ok("lock", "held by the running Airboss" if api.running else "free; Airboss is stopped")
    except DataDirLocked as error:
        yield fail("lock", str(error), "stop the other one, or choose another --data-dir")
    except AirbossError as error:
        yield fail("record store", str(error), "see the log of `airboss up`")
    else:
        seen = f"{journal['unmoved_bytes']} bytes of journal wait"
        if journal["store_up"] and journal["store_detail"]:
            advice = "it is at work on something long, or the machine is busy; no record is lost meanwhile"
            yield warn("record store", f"{journal['store_detail']}; {seen}", advice)
        elif journal["store_up"]:
            yield ok("record store", f"answers; {seen}")
        else:
            advice = "see the log of `airboss up`; no record is lost meanwhile"
            away = journal.get("waits_for", "record store")  # not there where an older one runs
            yield fail(away, f"{journal['store_detail'] or 'does not answer'}; {seen}", advice)
        if trouble := status.get("ledger_trouble"):
            advice = "mend what it names; calls go on meanwhile, and nothing can be changed"
            yield fail("ledger", trouble, advice)
        if trouble := status.get("audit_trouble"):  # not there where an older one runs
            yield fail("audit log", trouble, "find out who did that; see `airboss audit verify`")
        for each in status.get("untold", ()):
            yield warn(
                "summaries", each, "see its [notifiers] entry, and whether its host is reached from here"
            )
        yield from tried("sealed bodies", sealed(data_dir))


def sealed(data_dir: Path) -> Iterator[Check]:
    """Whether what was sealed can be opened, where anything was."""
    from airboss.compose.sealing import open_ring  # noqa: PLC0415 - only here
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - as above

    with open_ring(DataDir(data_dir)) as ring:
        if not ring.ever():
            return
        trouble = ring.trouble()
    if trouble is None:
        yield ok("sealed bodies", "can be opened: the master key is the right one; back it up apart")
    else:
        yield fail("sealed bodies", trouble, "put it back; without it what is sealed is lost")


def show(found: list[Check]) -> None:
    """The checks as a table."""
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = table_of("", "check", "seen", "what to do")
    for each in found:
        colour = colours[each.verdict]
        row = [each.name, each.seen, each.advice or ""]
        table.add_row(f"[{colour}]{each.verdict}[/]", *map(escape, row))
    console().print(table)
