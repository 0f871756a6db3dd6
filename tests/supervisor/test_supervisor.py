"""A wanted set of processes, kept running for real."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airboss.domain.errors import SetupError
from airboss.supervisor.process import Command
from airboss.supervisor.restart import USELESS_CODE
from airboss.supervisor.supervisor import Health, Spec
from tests.supervisor.children import alive, failed, known, ok, python
from tests.supervisor.watched import Watched, supervised
from tests.support.wait import until

FOREVER = "import signal; signal.pause()"


def spec(name: str, code: str = FOREVER, **fields: object) -> Spec:
    """A process that is ready as soon as it runs."""
    return Spec(**{"command": python(name, code), "probe": ok, "grace_s": 5.0, **fields})  # type: ignore[arg-type]  # fields are named by their tests


def test_a_killed_child_is_started_again() -> None:
    """A child that is killed comes back under a new id, and the restart is counted."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid"), spec("other")])
        await watched.supervisor.until_ready()
        before = dict(watched.statuses)
        assert before["kid"].pid is not None
        os.kill(before["kid"].pid, signal.SIGKILL)
        await watched.until(lambda now: now["kid"].restarts == 1 and now["kid"].state == "ready")
        assert watched.statuses["kid"].pid != before["kid"].pid
        assert watched.statuses["other"] == before["other"], "its neighbour is left alone"

    supervised(scenario)


TELLS = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("here", flush=True)
signal.sigwait({signal.SIGUSR1})
os.write(int(os.environ["AIRBOSS_SERVES_FD"]), b"\\n")
signal.pause()
"""


def test_one_that_tells_is_not_ready_before() -> None:
    """Whatever its probe would say: another may answer it. One that ends without having told begins anew."""

    async def scenario(watched: Watched) -> None:
        asked: list[int] = []

        async def answered(pid: int) -> Health:
            asked.append(pid)
            return "ok"

        kid = Command(name="kid", argv=python("kid", TELLS).argv, tells=True)
        watched.supervisor.want([Spec(command=kid, probe=answered), spec("other")])
        # What it says may be heard before anything is told of either.
        await watched.until(
            lambda now: "here" in watched.said("kid") and "other" in now and now["other"].state == "ready"
        )
        for each in watched.statuses.values():
            assert each.pid is not None
            os.kill(each.pid, signal.SIGKILL)
        await watched.until(lambda _: watched.said("kid").count("here") == 2)
        await watched.until(lambda now: now["other"].restarts == 1 and now["other"].state == "ready")
        assert (watched.statuses["kid"].state, asked) == ("starting", [])
        pid = watched.statuses["kid"].pid
        assert pid is not None
        os.kill(pid, signal.SIGUSR1)
        await watched.until(lambda now: now["kid"].state == "ready")
        assert asked == [pid]

    supervised(scenario)


GIVES_WAY = """
import os, signal
from pathlib import Path
group = Path("/proc/self/autogroup")
def tell(*_):
    said = group.read_text().split() if group.exists() else []
    os.write(1, b"at the end %d %s\\n" % (os.nice(0), said[-1].encode() if said else b"none"))
    os._exit(0)
signal.signal(signal.SIGTERM, tell)
os.nice(10)
while group.exists():
    try:
        group.write_text("10")
        break
    except BlockingIOError:  # the kernel takes one change in 0.1 s
        pass
os.write(1, b"gives way\\n")
signal.pause()
"""


def test_a_stop_waits_for_nobody_who_gives_way() -> None:
    """Whoever has low priority loses it as a stop begins, be its turn the last: its session's, and its own
    where we may say so."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid", GIVES_WAY)])
        await watched.until(lambda _: ("kid", "gives way") in watched.lines)

    watched = supervised(scenario)
    threads, session = watched.lines[-1][1].removeprefix("at the end ").split()
    assert session in {"0", "none"}
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert int(threads) in ({own} if os.geteuid() == 0 else {own, own + 10})


def test_a_child_that_backs_off_says_why() -> None:
    """Between death and the next start the state is `backing_off`, with the cause."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid")])
        await watched.supervisor.until_ready()
        pid = watched.statuses["kid"].pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        await watched.until(lambda now: now["kid"].state == "backing_off")
        assert watched.statuses["kid"].detail == "was ended by signal 15"
        assert watched.statuses["kid"].pid is None

    supervised(scenario)


def test_what_is_not_wanted_any_more_stops() -> None:
    """A child dropped from the wanted set is stopped and forgotten; a new one is started."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("old")])
        await watched.supervisor.until_ready()
        old = watched.statuses["old"].pid
        watched.supervisor.want([spec("new")])
        await watched.until(lambda now: "old" not in now and now["new"].state == "ready")
        assert old is not None
        assert not known(old)

    supervised(scenario)


def test_a_changed_spec_replaces_the_process() -> None:
    """Another command under the same name replaces the process; an equal one leaves it alone."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid")])
        await watched.supervisor.until_ready()
        first = watched.statuses["kid"].pid
        watched.supervisor.want([spec("kid"), spec("mark")])
        await watched.supervisor.until_ready()
        assert watched.statuses["kid"].pid == first
        watched.supervisor.want([spec("kid", FOREVER + "  # another")])
        await watched.until(lambda now: now["kid"].state == "ready" and now["kid"].pid != first)
        assert watched.statuses["kid"].restarts == 0, "a replacement is no failure"

    supervised(scenario)


def test_alive_and_unhealthy_is_restarted() -> None:
    """A watched child that was ready and fails three checks in a row is restarted."""
    answers: list[Health] = ["failed", "ok", "failed", "failed", "ok", "failed", "failed", "failed"]
    asked: set[int] = set()

    async def probe(pid: int) -> Health:
        if not answers:
            return "ok"
        asked.add(pid)
        return answers.pop(0)

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid", probe=probe, watch=True)])
        await watched.until(lambda now: now and now["kid"].restarts == 1 and now["kid"].state == "ready")
        assert answers == []
        assert len(asked) == 1, "two failures, then health, are forgiven"

    supervised(scenario)


def test_busy_is_not_unhealthy() -> None:
    """Checks that find a watched child busy do not count against it."""
    answers: list[Health] = ["busy"] * 10
    answers.insert(0, "ok")
    drained = asyncio.Event()

    async def probe(_pid: int) -> Health:
        if not answers:
            drained.set()
            return "ok"
        return answers.pop(0)

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid", probe=probe, watch=True)])
        async with asyncio.timeout(90):
            await drained.wait()
        assert watched.statuses["kid"].restarts == 0

    supervised(scenario)


def test_a_slow_start_is_not_unhealthy() -> None:
    """Before it has ever been ready a child may fail checks as long as it likes."""
    answers: list[Health] = ["failed"] * 20

    async def probe(_pid: int) -> Health:
        return answers.pop() if answers else "ok"

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid", probe=probe, watch=True)])
        await watched.supervisor.until_ready()
        assert watched.statuses["kid"].restarts == 0

    supervised(scenario)


def test_hopeless_ends_with_the_last_lines() -> None:
    """A process that fails five times before ever being ready ends the run, with its last lines."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([spec("kid", "import sys; sys.exit('no such model: x')", probe=failed)])
        await watched.supervisor.until_ready()

    with pytest.raises(SetupError, match=r"(?s)kid ended with exit code 1, 5 times.*no such model: x"):
        supervised(scenario)


def test_stopping_goes_phase_by_phase_and_kills_the_stubborn() -> None:
    """The first phase is gone before the second is asked; what ignores SIGTERM is killed after its grace."""
    start = "import signal, sys; signal.signal(15, {}); print('up', flush=True)\nwhile True: signal.pause()"
    polite = start.format("lambda *_: (print('bye', flush=True), sys.exit())")
    deaf = start.format("signal.SIG_IGN")

    async def main() -> list[tuple[str, str]]:
        watched = Watched()
        supervisor = watched.supervisor
        running = asyncio.create_task(supervisor.run())
        supervisor.want([spec("second", polite), spec("first", polite), spec("deaf", deaf, grace_s=0.3)])
        await supervisor.until_ready()
        await watched.until(lambda _now: len(watched.lines) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await supervisor.stop([lambda name: name == "deaf", lambda name: name == "first"])
        assert {each.state for each in watched.statuses.values()} == {"stopped"}
        return watched.lines[3:]

    assert asyncio.run(main()) == [("first", "bye"), ("second", "bye")]


def test_a_second_interrupt_ends_all_and_says_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waited for a grace, and nothing is started again: the log must not say so."""

    async def main() -> None:
        watched = Watched()
        supervisor = watched.supervisor
        running = asyncio.create_task(supervisor.run())
        deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
        deaf += "\nwhile True: signal.pause()"
        supervisor.want([spec("asked", deaf), spec("next", deaf)])
        await watched.until(lambda _now: len(watched.lines) == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        stopping = asyncio.create_task(supervisor.stop([lambda name: name == "asked"]))
        await watched.until(lambda now: now["asked"].state == "stopping")
        supervisor.kill_all()
        await stopping
        assert {each.state for each in watched.statuses.values()} == {"stopped"}

    asyncio.run(main())
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == []


PARENT = """
import asyncio, sys
from airboss.supervisor.supervisor import Supervisor, Spec
from airboss.supervisor.process import Command

CHILD = '''
import os
from airboss.supervisor.lifeline import on_parent_gone
on_parent_gone(lambda: os._exit(7))
print(os.getpid(), flush=True)
import signal
signal.pause()
'''

async def ok(pid):
    return "ok"

async def main():
    supervisor = Supervisor(on_line=lambda name, line: print(line, flush=True), on_change=lambda now: None)
    commands = [Command(name=str(i), argv=(sys.executable, "-c", CHILD)) for i in range(2)]
    supervisor.want([Spec(command=each, probe=ok) for each in commands])
    await supervisor.run()

asyncio.run(main())
"""


def test_no_orphan_after_kill_9_of_the_supervisor() -> None:
    """When the supervisor is killed with signal 9 its children notice and end."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    children = [int(parent.stdout.readline()) for _ in range(2)]
    assert all(alive(pid) for pid in children)
    parent.kill()
    parent.wait()
    assert until(lambda: not any(alive(pid) for pid in children))
    parent.stdout.close()


def test_one_that_may_fail_is_left_alone() -> None:
    """It ends five times without getting ready, and is not started again; it says what it said last. The
    start of the others is complete without it, and a changed one is tried anew."""
    dies = "import sys; sys.stderr.write('airboss: no such thing\\n'); sys.exit(1)"

    async def scenario(watched: Watched) -> None:
        frail = spec("frail", dies, probe=failed, may_fail=True, essential=False)
        watched.supervisor.want([spec("kid"), frail])
        await watched.supervisor.until_ready()
        await watched.until(lambda now: now["frail"].state == "failed")
        assert watched.statuses["frail"].detail == "ended with exit code 1: no such thing"
        assert watched.statuses["frail"].restarts == 5
        assert watched.statuses["kid"].state == "ready"
        watched.supervisor.want([spec("kid"), spec("frail", may_fail=True)])
        await watched.until(lambda now: now["frail"].state == "ready")

    supervised(scenario)


def test_one_that_knows_better_is_not_tried_twice() -> None:
    """Its exit code before being ready says that starting it again unchanged cannot help."""

    async def scenario(watched: Watched) -> None:
        frail = spec(
            "frail", f"raise SystemExit({USELESS_CODE})", probe=failed, may_fail=True, essential=False
        )
        watched.supervisor.want([frail])
        await watched.supervisor.until_ready()
        assert watched.statuses["frail"].state == "failed"
        assert watched.statuses["frail"].restarts == 1

    supervised(scenario)


def test_nothing_is_served_without_an_essential_one() -> None:
    """Then its end ends the start of everything, and says why."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want(
            [spec("kid"), spec("frail", f"raise SystemExit({USELESS_CODE})", probe=failed, may_fail=True)]
        )
        await watched.until(lambda _now: False)

    with pytest.raises(SetupError, match=r"frail ended with exit code 78\. Its last lines"):
        supervised(scenario)
