"""Promise: on a full disk no call is served that cannot be recorded, none that was is lost, and room is
enough to go on."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import msgspec

from airboss.domain.record import Redacted
from airboss.telemetry.journal import JournalWriter
from airboss.testing import FakeProvider
from tests.journeys.configs import LIMITED, fake
from tests.store.samples import closed_json, opened_json
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.receiver import Receiver
from tests.support.small_disk import MIB, fill, free, small_disk
from tests.support.wait import hold_still, until

QUICK = 'fake:{"words": 5}'
LARGE = "x" * 40_000


def test_a_full_disk_refuses_calls_and_room_lets_them_in(provider: FakeProvider, tmp_path: Path) -> None:
    """Refused by name, before anything goes upstream; then served again, without anybody's doing."""
    with (
        small_disk(tmp_path / "disk", 64) as disk,
        closing(Airboss(disk / "a", fake(provider.url))) as airboss,
    ):
        airboss.start()
        answered: list[str] = []

        def call(content: str = QUICK) -> httpx2.Response:
            answer = airboss.chat(content, model="support", user=LARGE[:200])
            if answer.status_code == 200:
                answered.append(answer.headers["x-request-id"])
            return answer

        for _ in range(20):
            assert call().status_code == 200
        ballast = fill(disk)

        def refused() -> httpx2.Response | None:
            # The journal has grown ahead of its frames: what is in that room may still be served.
            fill(disk)
            answer = call(QUICK + LARGE)
            return answer if "free space" in answer.text else None

        answer = until(refused)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "journal_unwritable", answer.text
        asked = provider.stats().requests - len(answered)
        for _ in range(5):  # of what is put together meanwhile there may be room for one
            until(refused)
        assert provider.stats().requests - len(answered) == asked, "a call without a record went upstream"
        assert airboss.status()["running"]
        ballast.unlink()
        until(lambda: call().status_code == 200)
        airboss.settled()
        kept = [record["id"] for record in airboss.records()]
        assert len(kept) == len(set(kept))
        assert not set(answered) - set(kept), "an answered call has no record"
        assert airboss.stop() == 0, airboss.log[-5000:]  # its log tells of the full disk, with traces


def test_a_worker_that_starts_on_a_full_disk_refuses_calls(provider: FakeProvider, tmp_path: Path) -> None:
    """Killed while nothing can be written, it is started again and says why it serves nothing; a whole start
    says so, too. With room calls are served, and what was answered before is all there."""
    with (
        small_disk(tmp_path / "disk", 64) as disk,
        closing(Airboss(disk / "a", fake(provider.url, LIMITED))) as airboss,
    ):
        airboss.start()
        answered = [airboss.chat(QUICK, model="support").headers["x-request-id"] for _ in range(5)]
        ballast = fill(disk)
        killed = airboss.pid("gateway-0")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        fill(disk)
        answer = airboss.chat(QUICK + LARGE, model="support")
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] in {"journal_unwritable", "counters_away"}
        assert "No space left" in answer.json()["error"]["message"]
        ballast.unlink()

        def served() -> str:
            answer = airboss.chat(QUICK, model="support")
            return answer.headers["x-request-id"] if answer.status_code == 200 else ""

        answered.append(until(served))
        airboss.settled()
        assert sorted(record["id"] for record in airboss.records()) == sorted(answered)
        assert airboss.stop() == 0, airboss.log[-5000:]
        fill(disk)
        done = run_up("--json", "--port", "0", "--console-port", "0", cwd=airboss.root)
        assert done.returncode == 2, done.stderr
        assert f"{airboss.data / 'run'} cannot be written: No space left" in done.stderr


def test_a_disk_without_inodes_is_told_as_that(provider: FakeProvider, tmp_path: Path) -> None:
    """Where no file can be made any more, what is open serves on; a worker that begins refuses calls, and
    says what is lacking. With room it serves, and what was answered is all there."""
    with (
        small_disk(tmp_path / "disk", 200, inodes=300) as disk,
        closing(Airboss(disk / "a", fake(provider.url))) as airboss,
    ):
        airboss.start()
        made: list[Path] = []

        def call() -> httpx2.Response:
            return airboss.chat(QUICK, model="support")

        def take_the_inodes() -> None:
            with suppress(OSError):
                while len(made) < 1_000:
                    (disk / f"{len(made)}").touch()
                    made.append(disk / f"{len(made)}")

        answered = [call().headers["x-request-id"] for _ in range(5)]
        take_the_inodes()
        answered += [call().headers["x-request-id"] for _ in range(5)]
        killed, mover = airboss.pid("gateway-0"), airboss.pid("controller")
        assert killed is not None
        assert mover is not None
        others = children(airboss) - {killed}
        hold_still(mover)  # what a dead worker has written is deleted once it is moved
        os.kill(killed, signal.SIGKILL)

        def refused() -> bool:
            answer = call()
            if answer.status_code == 200:  # by the one that was killed, or with an inode that another let go
                answered.append(answer.headers["x-request-id"])
                take_the_inodes()
                for worker in children(airboss) - others:  # its name stands in a file that can't be written
                    with suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)
            return answer.status_code == 503 and "no inode is left on its disk" in answer.text

        try:
            until(refused)
        finally:
            os.kill(mover, signal.SIGCONT)
        for each in made:
            each.unlink()
        answered.append(
            until(
                lambda: answer.headers["x-request-id"] if (answer := call()).status_code == 200 else "",
            )
        )
        airboss.settled()
        assert sorted(record["id"] for record in airboss.records()) == sorted(answered)
        assert airboss.stop() == 0, airboss.log[-5000:]


def children(airboss: Airboss) -> set[int]:
    """The processes that `up` has begun."""
    assert airboss.process is not None
    tasks = Path(f"/proc/{airboss.process.pid}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


LOST = """
[notifiers.ops]
webhook = "{webhook}"

[alarms."airboss.dead-letters"]
kind = "recording"
metric = "dead_letters"
window = "10s"
for = "0s"
notify = ["ops"]

[alarms."airboss.bodies-dropped"]
kind = "recording"
metric = "bodies_dropped"
window = "10s"
for = "0s"
notify = ["ops"]

[alarms."airboss.disk-full"]
kind = "recording"
metric = "disk_full"
for = "0s"
notify = ["ops"]
"""


def test_what_could_not_be_kept_is_told(provider: FakeProvider, tmp_path: Path) -> None:
    """Where the disk has little room left, bodies make room; a record that the store refuses is put away:
    both are told to a receiver, once, and so is that nothing more was lost for a while."""
    with small_disk(tmp_path / "disk", 200) as disk, Receiver(tmp_path) as receiver:

        def told() -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for each in receiver.told:
                found.setdefault(each["alarm"], []).append(each["state"])
            return found

        with Airboss(disk / "a", fake(provider.url, LOST.format(webhook=receiver.url))) as airboss:
            assert airboss.chat(QUICK, model="support").status_code == 200
            journal = JournalWriter(airboss.data / "journal", "stranger")
            journal.open(Redacted(opened_json(1)))
            journal.close_call(Redacted(closed_json(1, output_tokens=2**63)))
            journal.stop()
            lost = ("airboss.dead-letters", "airboss.bodies-dropped")
            full = {"airboss.disk-full": ["firing"]}
            until(
                lambda: all(told().get(each, [])[:1] == ["firing"] for each in (*lost, *full)), timeout_s=60
            )
            (letter,) = airboss.api("status")["journal"]["dead_letters"]
            assert "9223372036854775808" in letter["why"] or "range" in letter["why"], letter
            again = run_airboss(
                "records", "dead", "--retry", "--json", "--data-dir", str(airboss.data), cwd=tmp_path
            )
            said = msgspec.json.decode(again.stdout)
            assert (again.returncode, said["taken"], said["left"]) == (1, 0, 1)
            assert said["letters"][0]["why"] == "its call has a record without it", "it was interrupted"
            over = {name: ["firing", "resolved"] for name in lost} | full
            until(lambda: told() == over, timeout_s=60)


def test_a_disk_that_fills_up_is_told(provider: FakeProvider, tmp_path: Path) -> None:
    """Without a body that could make room: once, and so is that there is room again."""
    with small_disk(tmp_path / "disk", 400) as disk, Receiver(tmp_path) as receiver:
        config = fake(provider.url, LOST.format(webhook=receiver.url) + '\n[store]\nbodies = "off"\n')
        with Airboss(disk / "a", config) as airboss:
            assert airboss.chat(QUICK, model="support").status_code == 200
            ballast = fill(disk, but=64 * MIB)
            until(lambda: [each["state"] for each in receiver.taken] == ["firing"], timeout_s=60)
            (note,) = receiver.taken
            assert (note["alarm"], note["deployment"]) == ("airboss.disk-full", "")
            assert "less than 256 MiB left" in note["text"], note
            assert note["link"].endswith("/system")
            ballast.unlink()
            until(lambda: [each["state"] for each in receiver.taken] == ["firing", "resolved"], timeout_s=60)


def test_a_disk_that_is_full_at_once_is_told_all_the_same(provider: FakeProvider, tmp_path: Path) -> None:
    """To its last byte, so that not even the ledger can be written: the webhook hears of it once, and of its
    end; `/metrics`, the status and the log say so meanwhile."""
    with small_disk(tmp_path / "disk", 400) as disk, Receiver(tmp_path) as receiver:
        config = fake(provider.url, LOST.format(webhook=receiver.url) + '\n[store]\nbodies = "off"\n')
        with closing(Airboss(disk / "a", config)) as airboss:
            airboss.start()
            assert airboss.chat(QUICK, model="support").status_code == 200
            airboss.settled()
            metrics = f"{airboss.ready['base_url'].removesuffix('/v1')}/metrics"
            until(lambda: "airboss_disk_nearly_full 0.0" in httpx2.get(metrics).text)
            stop = [False]

            def kept_full() -> None:
                while not stop[0]:
                    fill(disk)
                    until(lambda: free(disk) > 0 or stop[0], timeout_s=600, every_s=0.01)

            fill(disk)
            filling = threading.Thread(target=kept_full)
            filling.start()
            try:
                until(lambda: [each["state"] for each in receiver.taken] == ["firing"], timeout_s=60)
                (note,) = receiver.taken
                assert note["alarm"] == "airboss.disk-full"
                until(lambda: "airboss_disk_nearly_full 1.0" in httpx2.get(metrics).text)
                status = airboss.api("status")
                assert status["retention"]["disk_full"]
                until(lambda: "the disk of the data directory is nearly full" in airboss.log)
            finally:
                stop[0] = True
                filling.join()
                (disk / "ballast").unlink()
            until(lambda: [each["state"] for each in receiver.taken] == ["firing", "resolved"], timeout_s=60)
            until(lambda: len(airboss.api("alarms/airboss.disk-full")["notifications"]) == 2)
            assert len(receiver.got) == 2
            assert airboss.stop() == 0, airboss.log[-5000:]
