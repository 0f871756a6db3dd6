"""The playground: the same conversation to several releases, side by side, begun anew or with a record's
messages, and gone on with after any answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from airboss.console import views_draft as drafts
from airboss.console.api_releases import DeploymentView
from airboss.console.conversation import TURNS_TAIL, message_turn
from airboss.console.desk import Desk
from airboss.console.fleet import deployment_views, release_names
from airboss.console.page import Action, Form, Page, View, current_plan
from airboss.console.plays import Play
from airboss.console.render import Visit
from airboss.console.text import escaped_json
from airboss.console.views import one
from airboss.dialects.recorded import in_chat
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.release import Release
from airboss.evaluations.datasets import Input, input_digest
from airboss.evaluations.ports import Answer, Call, Target
from airboss.releases.render import variables_in

RELEASES_MAX = 3
MESSAGE_MAX = 32_000
MESSAGES_MAX = 200_000
"""Characters of a record's messages, as JSON."""

ANSWER_MAX = 20_000
TOKENS = 400
TOKENS_MAX = 4_000
TEMPERATURE_MAX = 2.0
VARIABLE = re.compile(r'("(?:[^"\\]|\\.)*"\s*|[^=]+)=(.*)', re.DOTALL)
"""A line of a prompt's variables: a name, maybe in quotes, and a value."""
PLACES = ("stable", "canary", "candidate")
"""Releases by where they stand in the deployment that is asked."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One release's answer; `text` is of bounded length. `known`: the release has a page."""

    target: Target
    known: bool
    answer: Answer | None
    text: str | None


def playground(desk: Desk, seen: Visit) -> View:
    """The form, empty or with a record's messages, and the answers of a play."""
    play = played(desk, seen)
    messages, asked_of, unread = replayed(desk, seen)
    if play is not None:
        messages, asked_of = went_on(play, seen), play.calls[0].target.deployment
    names = release_names(desk)
    views = deployment_views(desk, seen.now)
    before, message = parted(messages)
    draft, start = drafts.tried(play), drafts.served(desk).get(seen.params.get("prompt_of", ""))
    return View(
        "playground.html",
        there=desk.plays is not None and bool(views),
        deployments=[each.name for each in views],
        chosen=asked_of or seen.params.get("deployment", ""),
        releases=offered(desk),
        places=PLACES,
        picked=picked(play, start),
        prompt=drafts.prompt_of(draft, start),
        prompt_max=drafts.PROMPT_MAX,
        prompts=drafts.beginnings(desk),
        draft=draft,
        kept=drafts.kept(desk, seen.params.get("kept", "")),
        message=message,
        messages=as_json(before) if before else None,
        turns=[message_turn(each, answer=False) for each in before[-TURNS_TAIL:]],
        earlier=max(0, len(before) - TURNS_TAIL),
        needed=not before or before[-1].get("role") == "assistant",
        goes_on="on" in seen.params,
        record=seen.params.get("record"),
        wants=wants(desk),
        variables=written(play.calls[0].input.variables if play is not None else told(desk, seen)),
        unread=unread,
        temperature=f"{play.calls[0].params['temperature']:g}"
        if play is not None and "temperature" in play.calls[0].params
        else "",
        tokens=play.calls[0].params.get("max_tokens", TOKENS) if play is not None else TOKENS,
        message_max=MESSAGE_MAX,
        play=play,
        sides=[] if play is None else sides(play, names),
    )


def picked(play: Play | None, start: Release | None) -> list[str]:
    """What the form's fields of releases hold: those of the play, else the one whose prompt is begun with,
    else stable alone."""
    found = [start.digest if start is not None else "stable"]
    if play is not None:
        found = [each.target.release for each in play.calls if each.varied is None]
    return (found + [""] * RELEASES_MAX)[:RELEASES_MAX]


def played(desk: Desk, seen: Visit) -> Play | None:
    """The play that the address names. Raises NotFound for one that is forgotten."""
    wanted = seen.params.get("play")
    if wanted is None:
        return None
    found = desk.plays.get(wanted, seen.now) if desk.plays is not None else None
    if found is None:
        raise NotFound(
            "this play is forgotten: answers are kept for half an hour, and not over a restart; its calls "
            "are among the records",
            param="play",
        )
    return found


def replayed(desk: Desk, seen: Visit) -> tuple[tuple[Any, ...], str | None, str | None]:
    """A record's messages, its deployment, and why there are none."""
    wanted = seen.params.get("record")
    if wanted is None:
        return (), None, None
    found = one(desk, seen, wanted)
    request = in_chat(found).request
    messages = request.get("messages") if isinstance(request, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        return (), found.deployment, "The record keeps no messages of a chat, so there is nothing to fill in."
    if len(msgspec.json.encode(messages)) > MESSAGES_MAX:
        return (), found.deployment, f"The record's messages have more than {MESSAGES_MAX:,} characters."
    return tuple(messages), found.deployment, None


def told(desk: Desk, seen: Visit) -> dict[str, str]:
    """The variables of the prompt that the record's call sent."""
    wanted = seen.params.get("record")
    request = one(desk, seen, wanted).request if wanted is not None else None
    found = request.get("prompt_variables") if isinstance(request, dict) else None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def written(variables: Mapping[str, str]) -> str:
    """Variables as the form has them, one a line; what would not be read back as it is stands in quotes, as
    JSON writes it."""
    return "\n".join(
        f"{on_one_line(name, but='=')} = {on_one_line(value)}" for name, value in variables.items()
    )


def on_one_line(text: str, *, but: str = "\n") -> str:
    """A text on one line, as it is or quoted; `but` is what it may not have unquoted."""
    plain = text == " ".join(text.split()) and not text.startswith('"') and but not in text
    return text if plain else msgspec.json.encode(text).decode()


def read_variables(form: Form) -> dict[str, str]:
    """What `written` wrote. Raises InvalidRequest for a line without a name."""
    found = {}
    # Not `splitlines`, which ends a line at characters that a value may well have.
    for line in map(str.strip, form.text("variables", most=MESSAGE_MAX).split("\n")):
        if not line:
            continue
        parts = VARIABLE.fullmatch(line)
        if parts is None:
            raise InvalidRequest(f"{line[:80]!r} is no variable; write name = value", param="variables")
        found[unquoted(parts[1])] = unquoted(parts[2])
    return found


def unquoted(text: str) -> str:
    """What `on_one_line` has written."""
    text = text.strip()
    if text.startswith('"'):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(text, type=str)
    return text


def wants(desk: Desk) -> list[tuple[str, list[str]]]:
    """Which variables the prompts of the plan in force ask for, by the release's name."""
    plan = current_plan(desk)
    served = plan.served() if plan is not None else ()
    asked = {each.release.name: sorted(variables_in(each.release.prompt or "")) for each in served}
    return [(name, needed) for name, needed in sorted(asked.items()) if needed]


def went_on(play: Play, seen: Visit) -> tuple[Any, ...]:
    """The messages of a play, with the answer after which it is gone on with if the address names one. Raises
    NotFound for an answer that is not there, or has no text."""
    asked, wanted = play.calls[0].input.messages, seen.params.get("on")
    if wanted is None:
        return asked
    places = {str(place): each.text for place, each in enumerate(play.answers or (), start=1)}
    text = places.get(wanted)
    if not text:
        raise NotFound(f"this play has no answer {wanted[:20]!r} to go on after", param="on")
    return (*asked, {"role": "assistant", "content": text})


def as_json(messages: tuple[Any, ...]) -> str:
    """Messages to be edited."""
    return escaped_json(msgspec.json.format(msgspec.json.encode(messages), indent=2).decode())


def parted(messages: tuple[Any, ...]) -> tuple[tuple[Any, ...], str]:
    """A conversation without its last message, and the text of that, where it is a user's and plain."""
    *before, last = messages or ({},)
    content = last.get("content")
    if set(last) == {"role", "content"} and last["role"] == "user" and isinstance(content, str):
        return tuple(before), content
    return messages, ""


def offered(desk: Desk) -> list[tuple[str, str]]:
    """Releases that the gateway knows, by digest with their names: those of the plan in force."""
    plan = current_plan(desk)
    known = {each.release.digest: each.release.name for each in plan.served()} if plan is not None else {}
    return sorted(known.items(), key=lambda each: (each[1], each[0]))


def sides(play: Play, names: dict[str, str]) -> list[Side]:
    """Every release with its answer, as far as there is one."""
    found = []
    for number, call in enumerate(play.calls):
        answer = play.answers[number] if play.answers is not None else None
        text = answer.text if answer is not None else None
        if text is not None and len(text) > ANSWER_MAX:
            text = text[:ANSWER_MAX] + " …"
        known = call.target.release in names
        found.append(Side(target=call.target, known=known, answer=answer, text=text))
    return found


def ask(desk: Desk, form: Form) -> str:
    """Send the messages to each release chosen, and go on to where the answers will stand."""
    if desk.plays is None:
        raise InvalidRequest("there is no gateway here to ask; see `airboss status`")
    name = form.needed("deployment")
    view = next((each for each in deployment_views(desk, form.now) if each.name == name), None)
    if view is None:
        raise InvalidRequest(f"no deployment {name[:80]!r} is served", param="deployment")
    messages = messages_of(form)
    params: dict[str, Any] = {"max_tokens": int(number(form, "tokens", 1, TOKENS_MAX, TOKENS))}
    if form.text("temperature"):
        params["temperature"] = number(form, "temperature", 0.0, TEMPERATURE_MAX, 0.0)
    targets = chosen_targets(desk, view, form)
    given = Input(messages=messages, variables=read_variables(form))
    calls = [
        Call(target=each, input=given, subject=input_digest(given), params=params, repeat=index)
        for index, each in enumerate(targets)
    ]
    draft = drafts.drafted(desk, calls[0], drafts.read_prompt(form))
    if draft is not None:
        calls.append(draft)
    play = desk.plays.start(calls, form.now)
    desk.note(form.call(), "playground.ask", name, {"releases": [each.target.release for each in calls]})
    return f"/playground?play={play.id}"


def messages_of(form: Form) -> tuple[Any, ...]:
    """The messages: a conversation as JSON, what is said next, or both."""
    text = form.text("messages", most=2 * MESSAGES_MAX)
    try:
        found = msgspec.json.decode(text or "[]", type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"the messages are no JSON list of objects: {error}", param="messages") from None
    if found and not form.text("message", most=MESSAGE_MAX):
        return tuple(found)
    return (*found, {"role": "user", "content": form.needed("message", most=MESSAGE_MAX)})


def chosen_targets(desk: Desk, view: DeploymentView, form: Form) -> list[Target]:
    """The releases that the form names, each once."""
    known = dict(offered(desk))
    places = {"stable": view.stable, "candidate": view.candidate}
    places["canary"] = view.canary.release if view.canary is not None else None
    found: dict[str, Target] = {}
    for field in range(1, RELEASES_MAX + 1):
        wanted = form.text(f"release{field}")
        if not wanted:
            continue
        digest = places.get(wanted, wanted)
        if digest is None:
            raise InvalidRequest(f"{view.name} has no {wanted} now; choose another", param=f"release{field}")
        if digest not in known:
            raise InvalidRequest(
                f"release {digest[:60]!r} is not in the plan in force", param=f"release{field}"
            )
        found[digest] = Target(deployment=view.name, release=digest, name=known[digest])
    if not found:
        raise InvalidRequest("choose one release at least", param="release1")
    return list(found.values())


def number(form: Form, name: str, least: float, most: float, default: float) -> float:
    """A number of the form within its bounds."""
    text = form.text(name, most=20)
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise InvalidRequest(f"{name}={text!r} is no number from {least:g} to {most:g}", param=name)
    return value


PAGES: tuple[Page, ...] = (
    Page(
        path="/playground",
        draw=playground,
        params=("play", "on", "record", "deployment", "prompt_of", "kept"),
        role="operator",
        room="deployments",
        tab="Playground",
        docs="how-to#try-a-prompt-before-it-is-a-release",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="playground.ask",
        path="/playground",
        act=ask,
        role="operator",
        done="Asked. Each answer is a new call with a record of its own; it counts in no rollout.",
    ),
    *drafts.ACTIONS,
)
"""What its forms do."""
