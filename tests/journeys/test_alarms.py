"""Alarms of every kind on a running Airboss: each fires, resolves, and is told to a real receiver once.

Where a kind looks after a minute or an hour only, that time is taken from what the ledger keeps; the
controller does the rest as ever.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import msgspec
import pytest

from airboss.evaluations.bias_people import attributes
from airboss.evaluations.drift_checks import Checks
from airboss.store.alert_runs import EvalOutcome, ProbeOutcome, Runs
from airboss.store.alerts import SqlAlertStore
from airboss.store.drift_rows import checks_of
from airboss.store.views import SqlViewStore
from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.journeys.configs import fake
from tests.supervisor.children import alive
from tests.support.airboss import Airboss
from tests.support.receiver import Receiver
from tests.support.wait import hold_still, until

BAD = 'fake:{"fault": "status", "status": 400}'
NAMES = tuple(each.b["arabic"].first for each in attributes(("origin:arabic",))[0].triples)
FAIR, PLANTED = "ok;texts=yes|yes|no", "ok;texts=yes|no|no|no|no|no|no|no"
PROMPTS = tuple(f"tell me fact {number}" for number in range(30))


CONFIG = """
default_alarms = []

[models.asked]
provider = "fake"
model = "asked"

[deployments.asked]
model = "asked"
default_alarms = []

[models.fixed]
provider = "fake"
model = "fixed"

[deployments.fixed]
model = "fixed"
default_alarms = []
drift = {{ features = false, prompts = {prompts}, every = "1m", alpha = 0.2 }}

[notifiers.ops]
webhook = "{webhook}"

[alarms.threshold]
metric = "error_rate"
deployment = "support"
above = 0.5
window = "10s"
for = "0s"
notify = ["ops"]

[alarms.change]
kind = "change"
metric = "error_rate"
deployment = "support"
above = 0.5
window = "10s"
for = "0s"
notify = ["ops"]

[alarms.budget]
deployment = "support"
slo = {{ target = 0.7, window = "90d" }}
for = "0s"
notify = ["ops"]

[alarms.probe]
deployment = "asked"
probe = {{ attributes = ["origin:arabic"], calls = 300 }}
every = "1h"
for = "0s"
notify = ["ops"]

[alarms.drift]
kind = "drift"
deployment = "fixed"
for = "0s"
notify = ["ops"]
"""
BY_NUMBERS = ("threshold", "change", "budget")


def calls(airboss: Airboss, content: str, count: int) -> None:
    """So many calls, over one connection."""
    body = {"model": "support", "messages": [{"role": "user", "content": content}]}
    with airboss.client() as client:
        for _ in range(count):
            client.post("/chat/completions", json=body)


def state_of(airboss: Airboss, alarm: str) -> str:
    """Where an alarm stands."""
    listed = airboss.api("alarms") or {"alarms": []}
    return next((each["state"] for each in listed["alarms"] if each["name"] == alarm), "")


def becomes(airboss: Airboss, alarm: str, state: str, *, meanwhile: Callable[[], object] = bool) -> None:
    """Wait until an alarm is in a state; `meanwhile` is done in between."""

    def there() -> bool:
        meanwhile()
        return state_of(airboss, alarm) == state

    # Not oftener: what `meanwhile` writes would overwrite what the controller has just written.
    try:
        until(there, timeout_s=150, every_s=1.0)
    except AssertionError as error:
        listed = airboss.api("alarms") or {"alarms": []}
        seen = [each for each in listed["alarms"] if each["name"] == alarm]
        raise AssertionError(f"{alarm} is not {state}: {seen}\n{airboss.log[-3000:]}") from error


def begun_anew(airboss: Airboss, *, meanwhile: Callable[[Airboss], object] = bool) -> None:
    """A controller that begins anew measures everything anew, whatever it measured a minute ago. `meanwhile`
    is done while there is none, which would write what it has read before over it."""
    pid = until(lambda: airboss.pid("controller"), timeout_s=60)
    assert airboss.process is not None
    hold_still(airboss.process.pid)  # who would start another at once
    try:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        meanwhile(airboss)
    finally:
        airboss.process.send_signal(signal.SIGCONT)
    until(lambda: airboss.pid("controller") not in {pid, None}, timeout_s=60)


def told(receiver: Receiver, alarm: str) -> list[str]:
    """What was told of an alarm, by each notification once."""
    return [each["state"] for each in receiver.told if each["alarm"] == alarm]


def a_week_ago(airboss: Airboss, count: int) -> None:
    """As many calls as `count`, all answered, spread over ten minutes around this time a week ago."""
    calls(airboss, "hi", 1)
    airboss.settled()
    one, many = airboss.root / "one.parquet", airboss.root / "many.parquet"
    airboss.verb("records", "export", str(one), "--deployment", "support")
    shifted = "started_at - interval '7 days' - interval '120 seconds'"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * replace ({shifted} + to_seconds(n * 600.0 / {count}) as started_at, "
            f"'00000000-0000-7000-8000-' || lpad(n::varchar, 12, '0') as id) "
            f"from read_parquet('{one}'), range({count}) as numbers(n)) to '{many}' (format parquet)"
        )
    assert f"{count:,} records" in airboss.verb("records", "import", str(many))


def an_hour_passes(airboss: Airboss, *, of: str, run: type[EvalOutcome | ProbeOutcome]) -> None:
    """The last run of an alarm began an hour ago."""
    store = SqlAlertStore(f"sqlite:///{airboss.data / 'ledger.db'}")
    row = store.alarms()[of]
    memory: Runs[Any] = msgspec.convert(row.memory, Runs[run])  # type: ignore[valid-type]  # read as it says
    earlier = msgspec.structs.replace(memory, at=memory.at - timedelta(hours=1))
    store.put_alarms([msgspec.structs.replace(row, memory=msgspec.to_builtins(earlier))])
    store.close()


def checks(airboss: Airboss) -> Any:
    """Where the fixed prompts of `fixed` stand."""
    headers = {"authorization": f"Bearer {airboss.ready['admin_key']}"}
    answer = httpx2.get(airboss.ready["console_url"] + "/api/v1/drift", headers=headers)
    return next(each["checks"] for each in answer.json()["deployments"] if each["deployment"] == "fixed")


def a_minute_passes(airboss: Airboss) -> None:
    """The last replay was a minute ago."""
    store = SqlViewStore(f"sqlite:///{airboss.data / 'ledger.db'}")
    kept = store.drift(checks_of("fixed"))
    assert kept is not None
    found = msgspec.json.decode(kept, type=Checks)
    # Once for each replay: while one is due, what the controller writes of it would be overwritten.
    if found.at > datetime.now(UTC) - timedelta(minutes=1):
        earlier = msgspec.structs.replace(found, at=found.at - timedelta(minutes=1))
        # Not where the controller has kept something else meanwhile.
        store.move_drift(checks_of("fixed"), kept, msgspec.json.encode(earlier))
    store.close()


@pytest.mark.timeout(900)
def test_alarms_fire_and_end_and_are_told_once(provider: FakeProvider, tmp_path: Path) -> None:
    """Failures fire those by numbers (`threshold`, `change` against a week ago, `burn_rate`: of such an SLO
    over nine in ten calls of three days); a no to one group fires a probe's; a model that is changed silently
    that of drift, within its next replays. All end when it is mended, or accepted."""
    provider.script(
        ScriptStep(behaviour=PLANTED, forever=True, holding=NAMES, model="asked"),
        ScriptStep(behaviour=FAIR, forever=True, model="asked"),
        ScriptStep(behaviour=Behaviour(echo=True), forever=True, model="fixed"),
    )
    with Receiver(tmp_path) as receiver:
        config = fake(provider.url, CONFIG.format(prompts=json.dumps(PROMPTS), webhook=receiver.url))
        with Airboss(tmp_path / "a", config) as airboss:
            a_week_ago(airboss, 12_000)
            bad = [60]
            calls(airboss, BAD, 60)
            begun_anew(airboss)

            def goes_on_badly() -> None:
                calls(airboss, BAD, 20)
                bad[0] += 20

            for name in BY_NUMBERS:
                becomes(airboss, name, "firing", meanwhile=goes_on_badly)
            becomes(airboss, "probe", "firing")
            until(lambda: checks(airboss)["state"] != "learning", timeout_s=150, every_s=0.5)

            provider.script(
                ScriptStep(behaviour=FAIR, forever=True, model="asked"),
                ScriptStep(behaviour=Behaviour(text="Who knows?"), forever=True, model="fixed"),
            )
            # However many had to fail: of an SLO over nine in ten calls what is mended must be a tenth.
            calls(airboss, "hi", 100 + bad[0] // 4)
            airboss.settled()
            begun_anew(airboss, meanwhile=partial(an_hour_passes, of="probe", run=ProbeOutcome))

            def goes_on() -> None:
                """Calls go on: without any, alarms by numbers would have nothing to measure."""
                a_minute_passes(airboss)
                calls(airboss, "hi", 20)

            becomes(airboss, "drift", "firing", meanwhile=goes_on)
            assert checks(airboss)["changed"][0]["after"] == "Who knows?"
            airboss.verb("monitor", "drift", "fixed", "--accept")
            for name in BY_NUMBERS:
                becomes(airboss, name, "resolved", meanwhile=lambda: calls(airboss, "hi", 20))
            becomes(airboss, "probe", "resolved")
            becomes(airboss, "drift", "resolved")
            every = (*BY_NUMBERS, "probe", "drift")
            until(lambda: len(receiver.told) >= 2 * len(every), timeout_s=60)
            for name in every:
                assert told(receiver, name) == ["firing", "resolved"], name
            assert len(receiver.told) == 2 * len(every)
