"""How a request comes by its behaviour."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.providers.fake_choose import Chooser
from airboss.providers.fake_faults import FAULTS, Behaviour, from_line, from_model, from_text
from airboss.providers.fake_script import Script, ScriptStep

PATH = b"/v1/chat/completions"


class Time:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def chooser(default: str = "ok") -> Chooser:
    """A chooser with nothing scripted."""
    return Chooser(Time(), from_line(default))


def fault(given: Chooser, *, model: str = "m", text: str = "hi", line: str | None = None) -> str:
    """The fault that one chat request gets; "refused" when the request itself was refused."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    headers = [(b"X-Fake-Fault", line.encode())] if line is not None else []
    prepared = given.prepare(b"POST", PATH, headers, json.dumps(body).encode())
    first = prepared.steps[0]
    wrong = isinstance(first, bytes) and b" 400 " in first.partition(b"\r\n")[0] and prepared.fault == "ok"
    return "refused" if wrong else prepared.fault


def test_header_goes_before_message_before_model_before_script_before_default() -> None:
    """The most particular wish counts."""
    one = chooser("html")
    one.script.add((ScriptStep(behaviour="529", forever=True),))
    marker = 'say fake:{"fault": "500"} now'
    assert fault(one, line="429", text=marker, model="fake-503") == "429"
    assert fault(one, text=marker, model="fake-503") == "500"
    assert fault(one, model="fake-503") == "503"
    assert fault(one) == "529"
    one.reset()
    assert fault(one) == "html"


def test_only_the_last_user_message_asks() -> None:
    """A wish from an earlier turn does not go on."""
    turns = [
        {"role": "user", "content": 'fake:{"fault": "500"}'},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": [{"type": "text", "text": "well then"}]},
    ]
    body = json.dumps({"model": "m", "messages": turns}).encode()
    assert chooser().prepare(b"POST", PATH, [], body).fault == "ok"


@pytest.mark.parametrize("model", ["fake-large", "gpt-4o", "fake-", "fake"])
def test_a_model_that_names_no_fault_is_any_model(model: str) -> None:
    """A name that only looks like a wish is answered well."""
    assert from_model(model) is None
    assert fault(chooser(), model=model) == "ok"


def test_a_line_is_read_by_the_fields_of_behaviour() -> None:
    """Numbers, truth values and text are read by their field."""
    wanted = Behaviour(fault="cut-reset", after=2, echo=True, for_s=0.5, message="a b")
    assert from_line(" cut-reset ; after=2; echo=true ;for_s=0.5;message=a b") == wanted


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("cut-rest", "cut-reset"),
        ("ok;after", "not name=value"),
        ("ok;afterwards=3", "afterwards"),
        ("ok;after=soon", "after"),
        ("ok;after=-1", "negative"),
        ("ok;words=2000000", "words"),
        ("ok;tokens_per_s=0", "tokens_per_s"),
        ("status;status=99", "status"),
        ("large-event;size_bytes=99999999999", "size_bytes"),
    ],
)
def test_a_wrong_line_is_refused_with_what_was_wrong(line: str, says: str) -> None:
    """A typing error never passes for good behaviour."""
    with pytest.raises(InvalidRequest, match=says):
        from_line(line)
    assert fault(chooser(), line=line) == "refused"


@pytest.mark.parametrize("text", ["fake:{", 'fake:{"fault": 3', 'fake:{"fault": "nothing"}', 'fake:{"f": 1}'])
def test_a_wrong_marker_is_refused(text: str) -> None:
    """A marker that cannot be read is a 400."""
    with pytest.raises(InvalidRequest):
        from_text(text)
    assert fault(chooser(), text=text) == "refused"


def test_first_counts_the_calls_that_ask_for_the_same() -> None:
    """`first=2` misbehaves twice; another model, or another wish, has its own count."""
    one = chooser()
    assert [fault(one, model="a", line="503;first=2") for _ in range(4)] == ["503", "503", "ok", "ok"]
    assert fault(one, model="b", line="503;first=2") == "503"
    assert [fault(one, model="fake-500-once") for _ in range(3)] == ["500-once", "ok", "ok"]
    one.reset()
    assert fault(one, model="fake-500-once") == "500-once"


def steps(*given: ScriptStep) -> tuple[Script, Time]:
    """A script with these steps, and its clock."""
    time = Time()
    script = Script(time)
    script.add(given)
    return script, time


def faults(script: Script, count: int, model: str = "m") -> list[str | None]:
    """The faults of so many calls; None where no step was left."""
    found = (script.next(model) for _ in range(count))
    return [behaviour.fault if behaviour is not None else None for behaviour in found]


def test_steps_follow_each_other() -> None:
    """A step lasts for its calls, one when it does not say."""
    script, _ = steps(ScriptStep(behaviour="500"), ScriptStep(behaviour="429", calls=2), ScriptStep(calls=0))
    assert faults(script, 4) == ["500", "429", "429", None]
    assert not script.waits


def test_a_step_in_seconds_begins_with_its_first_call() -> None:
    """`for_s` runs from the first call that it answers."""
    script, time = steps(ScriptStep(behaviour="503", for_s=2.0), ScriptStep(behaviour="html"))
    time.now += 60
    assert faults(script, 3) == ["503"] * 3
    time.now += 1.99
    assert faults(script, 1) == ["503"]
    time.now += 0.01
    assert faults(script, 2) == ["html", None]


def test_a_step_may_last_for_ever() -> None:
    """`forever` never ends."""
    script, time = steps(ScriptStep(behaviour=Behaviour(fault="503"), forever=True))
    time.now += 1e9
    assert faults(script, 100) == ["503"] * 100


def test_a_step_may_be_for_one_model() -> None:
    """Requests for other models go on to the next step."""
    script, _ = steps(
        ScriptStep(behaviour="503", forever=True, model="primary"),
        ScriptStep(behaviour="429", model="backup"),
    )
    assert faults(script, 2, "backup") == ["429", None]
    assert faults(script, 2, "primary") == ["503", "503"]


def test_probability_is_drawn_from_the_seed() -> None:
    """The same seed gives the same calls, and about as many as were asked for."""

    def draw(seed: int) -> list[str | None]:
        return faults(steps(ScriptStep(behaviour="500", calls=1000, probability=0.3, seed=seed))[0], 1000)

    assert draw(7) == draw(7) != draw(8)
    assert 250 < draw(7).count("500") < 350
    assert draw(7).count("ok") == 1000 - draw(7).count("500")


@pytest.mark.parametrize(
    "step",
    [
        ScriptStep(behaviour="nothing"),
        ScriptStep(calls=1, forever=True),
        ScriptStep(for_s=1, calls=2),
        ScriptStep(probability=1.5),
        ScriptStep(behaviour=Behaviour(fault="nothing")),
    ],
)
def test_a_wrong_step_is_refused_and_nothing_is_queued(step: ScriptStep) -> None:
    """All steps are queued, or none."""
    script = Script(Time())
    with pytest.raises(InvalidRequest):
        script.add((ScriptStep(behaviour="500"), step))
    assert not script.waits


def test_the_same_request_is_prepared_once() -> None:
    """Good answers are kept; answers that a script or a header changed are not."""
    one = chooser()
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    kept = one.prepare(b"POST", PATH, [], body)
    assert one.prepare(b"POST", PATH, [], body) is kept
    wish = [(b"x-fake-fault", b"ok;text=else")]
    other = b'{"model":"m","messages":[{"role":"user","content":"y"}]}'
    assert one.prepare(b"POST", PATH, wish, other).steps != one.prepare(b"POST", PATH, [], other).steps
    one.script.add((ScriptStep(behaviour="500"),))
    assert one.prepare(b"POST", PATH, [], body).fault == "500"
    assert one.prepare(b"POST", PATH, [], body).fault == "ok"
    for number in range(1000):
        one.prepare(b"POST", PATH, [], body + b" " * number)
    assert len(one._kept) <= 256


def test_the_catalogue_says_one_line_of_each() -> None:
    """Names are short and every fault is described."""
    assert all(name == name.lower() and text and "\n" not in text for name, text in FAULTS.items())


def test_a_step_may_be_for_requests_that_hold_a_word() -> None:
    """In any message, as a word of its own; others go on to the next step, or to the default."""
    one = chooser("html")
    steps = (
        ScriptStep(behaviour="500", forever=True, holding=("Ann", "Bo")),
        ScriptStep(behaviour="503", forever=True, model="big"),
    )
    one.script.add(steps)
    assert fault(one, text="Is Bo here?") == "500"
    assert (fault(one, text="Bored Anne"), fault(one, text="nobody", model="big")) == ("html", "503")
    messages = [{"role": "system", "content": "You serve Ann."}, {"role": "user", "content": "hi"}]
    body = json.dumps({"model": "m", "messages": messages}).encode()
    assert one.prepare(b"POST", PATH, [], body).fault == "500"
