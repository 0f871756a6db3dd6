"""Ready-made pieces of a configuration, and how one is put into a text. Pure."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

import msgspec

from airboss.config.types import Config, DeploymentConfig
from airboss.config.wording import Path, dotted

Part = tuple[Path, tuple[str, ...]]
"""A table of the configuration, and lines that stand in it."""


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a configuration. `why` says in a sentence what it does."""

    name: str
    title: str
    why: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """It as TOML."""
        return "\n\n".join("\n".join((f"[{dotted(path)}]", *lines)) for path, lines in self.parts)


def snippets(config: Config) -> tuple[Snippet, ...]:
    """Pieces for this configuration, for the first of its deployments that has nothing of the kind yet. None
    where nothing is deployed."""
    if not config.deployments:
        return ()
    return (
        _provider(config),
        _alarm(config),
        _notifier(config),
        _judge(config),
        _budget(config),
        _team(config),
        _fallback(config),
        _policy(config),
        _words(config),
        _rollout(config),
    )


def added(text: str, snippet: Snippet) -> str:
    """The text with the piece in it: lines below the head of a table that is there, else a table at the end.
    Nothing else moves. What is there already is not looked for: parsing says so."""
    for path, lines in snippet.parts:
        text = _with_lines(text, path, lines)
    return text


def _provider(config: Config) -> Snippet:
    called = {*config.deployments, *(alias for each in config.deployments.values() for alias in each.aliases)}
    model = _free("gpt-4.1-mini", dict.fromkeys(called))
    lines = (
        'kind = "openai"  # or anthropic, gemini, bedrock; azure and openai-compatible want a base_url',
        'api_key = "env:OPENAI_API_KEY"',
        f"models = [{_quoted(model)}]",
    )
    return Snippet(
        name="provider",
        title="A provider and its models",
        why="Apps ask for each model by its name. The variable of the key must be set where Airboss runs.",
        parts=((("providers", _free("hosted", config.providers)), lines),),
    )


def _notifier(config: Config) -> Snippet:
    return Snippet(
        name="notifier",
        title="Who is told of alarms",
        why="Default alarms tell every notifier; your own name theirs in notify. Slack has slack instead.",
        parts=(
            (
                ("notifiers", _free("ops", config.notifiers)),
                ('webhook = "https://hooks.example.com/airboss"',),
            ),
        ),
    )


def _alarm(config: Config) -> Snippet:
    name = _first(config, lambda _: True)
    lines = ('metric = "latency_p95"', f"deployment = {_quoted(name)}", "above = 5000", 'window = "10m"')
    return Snippet(
        name="alarm",
        title="An alarm on p95 latency",
        why="Fires while 95 % of the calls of ten minutes take longer than 5 s; above is in ms.",
        parts=((("alarms", _free("slow", config.alarms)), lines),),
    )


def _judge(config: Config) -> Snippet:
    name = _first(config, lambda each: each.scoring is None)
    judge = (
        f'    {{ kind = "llm_judge", deployment = {_quoted(name)}, name = "helpful", '
        'criteria = "The answer solves what was asked." },'
    )
    return Snippet(
        name="judge",
        title="A judge on live calls",
        why="A model judges a tenth of the answered calls; deployment says which, better a larger one.",
        parts=((("deployments", name), ("scoring = { sample = 0.1, scorers = [", judge, "] }")),),
    )


def _budget(config: Config) -> Snippet:
    keys = [name for name, key in config.keys.items() if key.role is None and key.budget is None]
    return Snippet(
        name="budget",
        title="A budget for a key",
        why="Calls with this key are refused once they have cost so much in a month.",
        parts=((("keys", keys[0] if keys else "default"), ('budget = { usd = 50, per = "month" }',)),),
    )


def _team(config: Config) -> Snippet:
    keys = [name for name, key in config.keys.items() if key.role is None and key.team is None]
    team = _free("research", config.teams)
    return Snippet(
        name="team",
        title="A budget that keys share",
        why="Calls with any key of the team are refused once they have cost so much in a month together.",
        parts=(
            (("teams", team), ('budget = { usd = 500, per = "month" }',)),
            (("keys", keys[0] if keys else "default"), (f"team = {_quoted(team)}",)),
        ),
    )


def _fallback(config: Config) -> Snippet:
    def single(each: DeploymentConfig) -> bool:
        return each.release is None or not config.releases[each.release].fallbacks

    name = _first(config, single)
    chosen = config.deployments[name]
    other = _free("backup", {**config.providers, **config.models})
    falls = f"fallbacks = [{_quoted(other)}]"
    own: tuple[Part, ...]
    if chosen.release is not None:
        own = ((("releases", chosen.release), (falls,)),)
    else:
        release = _free(name, config.releases)
        own = (
            (("releases", release), (f"model = {_quoted(str(chosen.model))}", falls)),
            (("deployments", name), (f"release = {_quoted(release)}",)),
        )
    return Snippet(
        name="fallback",
        title="A fallback model",
        why="Another is asked where the model fails. A release names it: a bare model is put into one.",
        parts=(
            (("providers", other), ('kind = "openai"', 'api_key = "env:OPENAI_API_KEY"')),
            (("models", other), (f"provider = {_quoted(other)}", 'model = "gpt-4o-mini"')),
            *own,
        ),
    )


def _policy(config: Config) -> Snippet:
    named = (each.policy for each in config.deployments.values())
    bare = next((each for each in named if each is None or config.policies[each].pii is None), None)
    policy, binds = (bare, ()) if bare is not None else _new_policy(config)
    return Snippet(
        name="policy",
        title="A policy that masks",
        why="Mail addresses, numbers of cards and the like are masked in requests and answers.",
        parts=((("policies", policy), ('pii = { action = "mask" }',)), *binds),
    )


def _words(config: Config) -> Snippet:
    named = (each.policy for each in config.deployments.values())
    bound = next((each for each in named if each is not None and not config.policies[each].custom), None)
    policy, binds = (bound, ()) if bound is not None else _new_policy(config)
    custom = ("policies", policy, "custom")
    return Snippet(
        name="words",
        title="Words and numbers of your own",
        why="Calls that name a secret project are refused, and numbers of employees are masked.",
        parts=(
            ((*custom, "codename"), ('words = ["Project Falcon", "Blue Heron"]', 'action = "block"')),
            ((*custom, "employee"), (r"pattern = '\bEMP-[0-9]{6}\b'", 'action = "mask"')),
            *binds,
        ),
    )


def _new_policy(config: Config) -> tuple[str, tuple[Part, ...]]:
    """The name of another policy, and what binds a deployment to it."""
    name = _first(config, lambda each: each.policy is None)
    policy = _free("careful", config.policies)
    return policy, ((("deployments", name), (f"policy = {_quoted(policy)}",)),)


def _rollout(config: Config) -> Snippet:
    name = _first(config, lambda each: each.rollout is None)
    line = 'rollout = { steps = [5, 25, 50], metrics = ["error_rate", "latency_p95"] }'
    return Snippet(
        name="rollout",
        title="A rollout in steps",
        why="The next change of its release waits as a candidate, and gets 5, 25 and 50 % of users first.",
        parts=((("deployments", name), (line,)),),
    )


def _first(config: Config, fits: Callable[[DeploymentConfig], bool]) -> str:
    """The first deployment that fits, else the first."""
    return next(
        (name for name, each in config.deployments.items() if fits(each)), next(iter(config.deployments))
    )


def _free(name: str, taken: dict[str, Any]) -> str:
    """A name that is not taken, made of this one."""
    return next(
        each for each in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))) if each not in taken
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _with_lines(text: str, path: Path, lines: tuple[str, ...]) -> str:
    rows = text.split("\n")
    head = _head_of(rows, path)
    if head is None:
        return "\n".join((text.rstrip("\n"), "", f"[{dotted(path)}]", *lines, ""))
    if any(line.startswith("release = ") for line in lines):  # in place of the model that it had
        model = _model_below(rows, head)
        if model is not None:
            del rows[model]
    rows[head + 1 : head + 1] = lines
    return "\n".join(rows)


def _head_of(rows: list[str], path: Path) -> int | None:
    """The row of a table's head; None where there is no such head. What stands within a string is none: the
    rows before a head are TOML by themselves."""
    wanted: dict[str, Any] = {}
    for part in reversed(path):
        wanted = {part: wanted}
    heads = (n for n, row in enumerate(rows) if row.lstrip().startswith("[") and _said(row) == wanted)
    return next((n for n in heads if _said("\n".join(rows[:n])) is not None), None)


def _model_below(rows: list[str], head: int) -> int | None:
    """The row in which the table of that head says its model."""
    for n in range(head + 1, len(rows)):
        if rows[n].lstrip().startswith("["):
            return None
        if (_said(rows[n]) or {}).keys() == {"model"}:
            return n
    return None


def _said(text: str) -> dict[str, Any] | None:
    """What TOML says; None where it is none."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
