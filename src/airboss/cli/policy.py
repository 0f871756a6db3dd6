"""`airboss policy`: what policies say, and what they would do to a text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.diff import read_config
from airboss.cli.files import unreadable
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, escape, print_json, print_nothing, table_of
from airboss.domain.errors import WrongCall

if TYPE_CHECKING:
    from airboss.config import Config
    from airboss.domain.release import Policy
    from airboss.governance.names import Spans

policy = typer.Typer(help="Policies: personal data and secrets in calls.", no_args_is_help=True)

TEXT_CHARS_MAX = 4 * 1024 * 1024

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A configuration file, instead of what is being served.")
]


@policy.command("list")
def list_policies(
    *,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the policies, what they do, and what they bind."""
    said = _configuration(config, data_dir, url)
    keys = {key: it.policy for key, it in said.keys.items()}
    if config is None:
        with reach(data_dir, url) as api:  # they may have been made under one
            keys |= {
                k["name"]: k["policy"] for k in api.get("/api/v1/keys")["keys"] if k["state"] != "revoked"
            }
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "action": None if each.pii is None else each.pii.action,
            "kinds": [kind for kind, _ in _policy(said, name).pii],
            "custom": {kind: own.action for kind, own in sorted(each.custom.items())},
            "releases": [release for release, it in said.releases.items() if it.policy == name],
            "deployments": [served for served, it in said.deployments.items() if it.policy == name],
            "keys": [key for key, policy in keys.items() if policy == name],
            "teams": [team for team, it in said.teams.items() if it.policy == name],
        }
        for name, each in said.policies.items()
    ]
    if not rows:
        print_nothing(
            "no policy; [policies.NAME] makes one: see docs/configuration.md, or Docs in the console"
        )
        return
    if as_json:
        for row in rows:
            print_json(row)
        return
    table = table_of("policy", "action", "kinds", "custom", "releases", "deployments", "keys", "teams")
    for row in rows:
        custom = [f"{kind}: {action}" for kind, action in row["custom"].items()]
        lists = (row["kinds"], custom, *(row[each] for each in ("releases", "deployments", "keys", "teams")))
        shown = (escape(", ".join(each) or "-") for each in lists)
        table.add_row(escape(row["name"]), row["action"] or "-", *shown)
    console().print(table)


@policy.command("test")
def try_policy(
    *,
    name: Annotated[str, typer.Option("--policy", help="The policy's name.")],
    text: Annotated[str | None, typer.Option("--text", help="The text itself.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A file with the text.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy finds in a text, and what passes; the text comes from stdin if none is given.

    The text is looked at here and sent nowhere. Exits with 1 if the policy would block it.
    """
    from airboss.governance.names import Names  # noqa: PLC0415 - loads what only this verb needs
    from airboss.governance.policies import asks_names, binding, custom_of  # noqa: PLC0415 - as above
    from airboss.governance.screening import screen_text, screening_policy  # noqa: PLC0415 - as above
    from airboss.governance.tokens import Tokens  # noqa: PLC0415 - as above

    said = _configuration(config, data_dir, url)
    if name not in said.policies:
        known = ", ".join(said.policies) or "none"
        where = "; `--config FILE` looks into a file that is not applied yet" if config is None else ""
        raise WrongCall(f"there is no policy {name!r}; there are: {known}{where}")
    pii, actions = said.policies[name].pii, binding(_policy(said, name))
    names = Names(find=_finder()) if asks_names(_policy(said, name)) else None
    screens = screening_policy(actions, names, custom_of(_policy(said, name)))
    found = screen_text(screens, _text(text, file), Tokens(b"test", kinds=screens.labels))
    if as_json:
        print_json(
            {
                "policy": name,
                "action": None if pii is None else pii.action,
                "found": dict(found.findings),
                "blocked": found.blocked,
                "text": found.text,
            }
        )
    else:
        counts = ", ".join(f"{count} {kind}" for kind, count in found.findings.items()) or "nothing"
        sys.stderr.write(f"found: {counts}{'; blocked from there on' if found.blocked else ''}\n")
        sys.stdout.write(found.text if found.text.endswith("\n") else f"{found.text}\n")
    if found.blocked:
        raise typer.Exit(1)


def _finder() -> Callable[[str], Spans]:
    """The model that finds names, in this process. Raises WrongCall where it is not installed."""
    from airboss.governance.names_model import load  # noqa: PLC0415 - as above
    from airboss.governance.policies import NAMED, unfindable  # noqa: PLC0415 - as above

    reason = unfindable(NAMED)
    if reason is not None:
        raise WrongCall(reason)
    return load()


def _configuration(file: Path | None, data_dir: Path, url: str | None) -> Config:
    """A configuration file, else what is being served. Raises ConfigError, WrongCall."""
    from airboss.config import parse_config  # noqa: PLC0415 - tomllib, where it is needed
    from airboss.config.found import checked  # noqa: PLC0415 - as above

    if file is not None:
        return checked(read_config(file), source=str(file))
    with reach(data_dir, url) as api:
        served = api.get("/api/v1/config")["config"]
    if served is None:
        raise WrongCall("no configuration has been applied yet; name a file with --config.")
    return parse_config(served, source="the configuration being served")


def _policy(said: Config, name: str) -> Policy:
    from airboss.governance.policies import policy_said  # noqa: PLC0415 - as above

    return policy_said(said.policies[name])


def _text(text: str | None, file: Path | None) -> str:
    """The text to look at. Raises WrongCall if it cannot be read or is too long."""
    if text is not None and file is not None:
        raise WrongCall("give --text or --file, not both.")
    if text is None:
        try:
            raw = sys.stdin.buffer.read(TEXT_CHARS_MAX + 1) if file is None else file.read_bytes()
        except OSError as error:
            raise unreadable(file or Path("stdin"), error) from None
        text = raw.decode("utf-8", "replace")
    if len(text) > TEXT_CHARS_MAX:
        raise WrongCall(f"the text has more than {TEXT_CHARS_MAX:,} characters; test a part of it.")
    return text
