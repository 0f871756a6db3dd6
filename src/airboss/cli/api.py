"""Finds an Airboss and speaks to it: over its admin API while it runs, to its data while it is stopped."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from airboss import __version__
from airboss.cli.options import has_data
from airboss.domain.errors import AirbossError, ConfigError, DataDirLocked, SetupError, WrongCall

if TYPE_CHECKING:
    import ssl

    import httpx2

    from airboss.supervisor.runfiles import UpFile

START_S = 30.0
"""So long an Airboss that is starting is waited for."""
END_S = 15.0
"""So long the end of the children is waited for of one that was killed."""
AGAIN_UP_S = 15.0
"""So long a console is waited for that is away while its Airboss runs: the longest pause before a controller
is started again, and its start."""
ANSWERS_S = 10.0
"""So long a console that takes connections may take to say that it lives."""
LOCKED_S = 5.0
"""So long whoever has the data is waited for, to serve or to end."""
TELL_S = 1.0
LOOK_S = 0.05
"""It tells by a lock and a file, which wake nobody."""
TIMEOUT_S = 45.0
"""Longer than the controller waits for a record store that hangs, 30 s: what it says then is told."""
PATIENCE_S = 300.0
AGAIN_S = 1.0
NAMES = ("code", "param")
"""The members of an error that are passed on as they are, with its message and type."""
SETUP = "setup_error"
"""The code of what the machine there lacks."""
MAY_COME = ("/api/v1/records/", "/api/v1/traces/")
ADMIN_KEY_ENV = "AIRBOSS_ADMIN_KEY"


class Waits(AirbossError):
    """What was asked for waits for somebody else to approve it."""

    code = "waits_for_approval"


class Unreachable(AirbossError):
    """Nobody answers there, now; later somebody may."""


class Api(Protocol):
    """The admin API, whoever answers it. `running` False: nobody serves; the data is read as it lies."""

    running: bool

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON answer of a GET. Raises AirbossError with the server's words for anything but 2xx."""

    def get_file(self, path: str, params: Mapping[str, str]) -> bytes:
        """The answer of a GET that is a file. Raises as `get`."""

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer of a POST. Raises as `get`; ConfigError for a 400."""


@contextmanager
def reach(data_dir: Path, url: str | None) -> Iterator[Api]:
    """The Airboss at `url`, else the one running on `data_dir`, else what it left there.

    Raises WrongCall if there is nothing at `data_dir`, or no key for `url`.
    """
    key = preset_key()
    if url is not None:
        address = console_address(url)
        if not key:
            raise WrongCall(
                f"--url needs the admin key of that Airboss, or a console key, in {ADMIN_KEY_ENV}."
            )
        with closing(Remote(address, key)) as remote:
            yield remote
        return
    if not has_data(data_dir):
        raise WrongCall(
            f"there is no Airboss data in {data_dir.absolute()}. Start one with `airboss up`, name the right"
            " directory with --data-dir, or, if it was started just now, try again in a second."
        )
    with ExitStack() as stack:
        yield _found(data_dir, key, stack)


def _found(data_dir: Path, key: str | None, stack: ExitStack) -> Api:
    """The Airboss that runs, else what it left, until `stack` ends. Whoever has the data may be about to
    serve, as roles that were started one by one, or to end, as another verb."""
    from airboss.cli.stopped import opened  # noqa: PLC0415 - not needed for --url

    began = time.monotonic()
    while (up := _serving(data_dir)) is None:
        try:
            return stack.enter_context(opened(data_dir))
        except DataDirLocked:
            if time.monotonic() - began >= LOCKED_S:
                raise
    cert = up.tls.cert if up.tls is not None else None
    kept = data_dir / "secrets" / "admin_key"
    own = f" Without {ADMIN_KEY_ENV} the one in {kept} is used." if key and kept.exists() else ""
    remote = Remote(up.console_url, key or read_admin_key(data_dir), cert=cert, own=own)
    return stack.enter_context(closing(remote))


def patiently(ask: Callable[[], Any]) -> Any:
    """What `ask` gives, which may be asked twice. While nobody answers, or who does cannot yet, it is asked
    again for PATIENCE_S, and stderr is told: what has come this far is not to be lost for that. Raises the
    error that lasts, and at once one that would stay."""
    began = time.monotonic()
    told = False
    while True:
        try:
            return ask()
        except AirbossError as error:
            passing = isinstance(error, Unreachable) or type(error) is AirbossError
            if not passing or time.monotonic() - began > PATIENCE_S:
                raise
            if not told:
                told = True
                why = str(error).removesuffix(".")
                sys.stderr.write(f"airboss: {why}; trying again, for {PATIENCE_S / 60:.0f} minutes at most\n")
        time.sleep(AGAIN_S)  # a store that comes back wakes nobody who has only HTTP to ask by


def _up(data_dir: Path) -> UpFile | None:
    """Where the Airboss of this directory listens, also one that is just starting; None if it is stopped or
    was killed. Raises Unreachable for one that takes longer."""
    from airboss.compose.parts import alone, running, starting  # noqa: PLC0415 - not needed for --url

    began, told = time.monotonic(), False
    while (pid := starting(data_dir)) is not None:
        waited_s, up = time.monotonic() - began, running(data_dir)
        if up is not None and (_listens(up.console_url) or waited_s >= START_S):
            return up
        if waited_s >= START_S:
            raise Unreachable(
                f"the Airboss of {data_dir.absolute()} (process {pid}) is still starting, after {START_S:.0f}"
                " s: its terminal says what it waits for, such as weights that are being fetched. Try again"
                " when it has printed its URLs, or stop it with Ctrl-C"
            )
        if waited_s >= TELL_S and not told:
            told = True
            sys.stderr.write(f"airboss: waiting for the Airboss that is starting (process {pid})\n")
        time.sleep(LOOK_S)
    up = _outlived(data_dir)
    if up is None and (said := alone(data_dir)) is not None and _listens(said.console_url):
        return said  # of one that was killed the process id may be another's by now
    return up


def _outlived(data_dir: Path) -> UpFile | None:
    """Where the Airboss listens that runs. The children of one that was killed have its lock until they end,
    which is waited for; None where they have ended, or do not."""
    from airboss.compose.parts import running  # noqa: PLC0415 - not needed for --url
    from airboss.store.datadir import alive  # noqa: PLC0415 - as above

    began = time.monotonic()
    while (up := running(data_dir)) is not None and not alive(up.pid):
        waited_s = time.monotonic() - began
        if waited_s >= TELL_S and _listens(up.console_url):
            break  # another container's, whose processes cannot be seen from here
        if waited_s >= END_S:
            return None
        time.sleep(LOOK_S)  # a lock that is let go wakes nobody who only looks at it
    return up


def unanswered(data_dir: Path) -> UpFile | None:
    """The Airboss of this directory, where it runs and nobody answers at its console now; None where somebody
    does, nothing runs, or it is for another machine to answer. Raises Unreachable as `_up`."""
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - not needed for --url

    if not has_data(data_dir) or DataDir(data_dir).has_joined:
        return None
    up = _up(data_dir)
    return up if up is not None and not _answers(up.console_url) else None


def _serving(data_dir: Path) -> UpFile | None:
    """As `_up`, once its console answers: one whose controller is just being started again is waited for, but
    not that of a machine to which this one has joined. Raises Unreachable as `_up`, and for a console that
    stays away."""
    from airboss.compose.parts import running  # noqa: PLC0415 - not needed for --url
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - as above

    up, began, told = _up(data_dir), time.monotonic(), False
    while up is not None and not DataDir(data_dir).has_joined and not _listens(up.console_url):
        waited_s = time.monotonic() - began
        if waited_s >= AGAIN_UP_S:
            raise Unreachable(
                f"the Airboss of {data_dir.absolute()} (process {up.pid}) runs, but nobody has answered at"
                f" {up.console_url} for {AGAIN_UP_S:.0f} s: its terminal, or its log, says what keeps the"
                " console from starting"
            )
        if waited_s >= TELL_S and not told:
            told = True
            sys.stderr.write(f"airboss: waiting for the console at {up.console_url}, which is away\n")
        time.sleep(LOOK_S)  # a port that is taken again wakes nobody
        if running(data_dir) != up:  # it has ended meanwhile, and another may have begun
            up, began = _up(data_dir), time.monotonic()
    return up


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1.0).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    """Whether its console says anything within ANSWERS_S: one that hangs still has its port open."""
    import httpx2  # noqa: PLC0415 - as `Remote`

    patience = httpx2.Timeout(ANSWERS_S, connect=1.0)
    try:
        # Whoever it is, nothing is told to them; and the head of an answer is enough.
        with httpx2.stream("GET", f"{url}/healthz", timeout=patience, verify=False, trust_env=False):
            return True
    except httpx2.HTTPError:
        return False


def preset_key() -> str | None:
    """The admin key that the environment has. Raises WrongCall, without it, for what no header carries."""
    key = os.environ.get(ADMIN_KEY_ENV, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise WrongCall(
            f"{ADMIN_KEY_ENV} has a space, a line break or a letter that no key has. Copy it again: `airboss"
            " up` prints it, and it stands in secrets/admin_key of its data directory."
        )
    return key or None


def console_address(url: str, *, flag: str = "--url") -> str:
    """A URL without the slash at its end. Raises WrongCall for what can be no console's address."""
    wrong = f"{flag} is {url[:80]!r}; give the console's address, such as http://127.0.0.1:8701"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise WrongCall(f"{wrong}.") from None
    if parts.scheme not in ("http", "https"):
        raise WrongCall(f"{wrong}, with http:// or https:// before it.")
    if not parts.hostname or port == 0 or not url.isprintable() or " " in url:
        raise WrongCall(f"{wrong}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise WrongCall(f"{flag} has more than an address; the key goes into {ADMIN_KEY_ENV}.")
    if {"api", "v1"} & set(parts.path.split("/")):
        raise WrongCall(f"{wrong}, without what follows it.")
    return url.rstrip("/")


class Remote:
    """A running Airboss. `cert` is the certificate that its own data directory says it shows, `own` what to
    say of the key that lies there."""

    running = True

    def __init__(self, console_url: str, key: str, *, cert: str | None = None, own: str = "") -> None:
        import httpx2  # noqa: PLC0415 - 60 ms that verbs without a server need not pay

        verify: ssl.SSLContext | bool = True
        if cert is not None:
            from airboss.supervisor.runfiles import trust  # noqa: PLC0415 - loaded by who has found it there

            verify = trust(cert)
        self._console_url, self._own = console_url, own
        self._client = httpx2.Client(
            base_url=console_url,
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            verify=verify,
        )

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """As in `Api`."""
        return self._answer("GET", path, params=params)

    def get_file(self, path: str, params: Mapping[str, str]) -> bytes:
        """As in `Api`."""
        return self._asked("GET", path, params=params).content

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """As in `Api`."""
        try:
            return self._answer("POST", path, json=dict(body))
        except ValueError as error:  # as the client says it
            why = next(non_finite(body), error)
            raise WrongCall(f"what is given cannot be sent as JSON: {why}") from error

    def _answer(self, method: str, path: str, **fields: Any) -> Any:
        return parsed(self._asked(method, path, **fields))

    def _asked(self, method: str, path: str, **fields: Any) -> httpx2.Response:
        import httpx2  # noqa: PLC0415 - as above

        try:
            response = self._client.request(method, path, **fields)
        except httpx2.TimeoutException as error:
            doubt = (
                "" if method == "GET" else " It may have been done all the same: look before you repeat it."
            )
            raise Unreachable(
                f"{self._console_url} did not answer within {TIMEOUT_S:.0f} s.{doubt}"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise unreached(self._console_url, error) from error
        if response.status_code == 202:
            raise Waits(response.json()["message"])
        if response.is_success:
            return response
        if response.status_code == 401:
            raise WrongCall(
                f"{self._console_url} does not accept this key. Set {ADMIN_KEY_ENV} to its admin key, or to a"
                f" console key that is still good.{self._own}"
            )
        raise self._refusal(response)

    def _refusal(self, response: httpx2.Response) -> AirbossError:
        error = refusal(response)
        if error.code == "unknown_route" and response.status_code == 404:
            return WrongCall(
                f"{self._console_url} is where programs call, not the console: give the console's address,"
                " whose port is 8701 unless `airboss up` was told otherwise."
            )
        return error


def unreached(url: str, error: Exception) -> AirbossError:
    """Why nobody answers at an address, and what to do: to start it, or to write the address otherwise."""
    said = re.sub(r"\[Errno -?\d+\] ", "", str(error)).rstrip(".")
    if "WRONG_VERSION_NUMBER" in said or "HTTP_REQUEST" in said:
        return WrongCall(f"{url} does not speak TLS: write http:{url.removeprefix('https:')}.")
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return WrongCall(
            f"{url} shows a certificate that is not trusted here: {said}. Put the certificate, or that of who"
            " issued it, into a file and name that in SSL_CERT_FILE."
        )
    if url.startswith("http:") and "disconnected without" in said:
        return Unreachable(
            f"{url} ended the connection without an answer. If it speaks TLS, write"
            f" https:{url.removeprefix('http:')}; else see `airboss status` there."
        )
    return Unreachable(
        f"no connection to {url}: {said}. Is it running, and is this its console's address? On"
        " its machine `airboss status` says both."
    )


def read_admin_key(data_dir: Path) -> str:
    """The admin key of the Airboss on this data directory. Raises WrongCall if it was preset at its start."""
    path = data_dir / "secrets" / "admin_key"
    try:
        key, why = path.read_text().strip(), f"{path} holds none"
    except (OSError, ValueError) as error:
        key, why = "", str(error)
    if not key.isascii() or not key.isprintable() or not key:
        raise WrongCall(
            f"the admin key cannot be read ({why}). If it was preset when Airboss started, set"
            f" {ADMIN_KEY_ENV} here too."
        )
    return key


class Said(dict[str, Any]):
    """An object of an answer. What it lacks is told to be another version's, as while one is upgraded."""

    def __missing__(self, name: str) -> Any:
        raise SetupError(
            f"the answer has no {name!r}: the Airboss that gave it is of another version than this command,"
            f" which is {__version__}; the first line of `airboss status` there tells its own. Start it again"
            " with this version, or use the command that came with it."
        )


def parsed(response: httpx2.Response) -> Any:
    """The JSON of an answer."""
    try:
        return json.loads(response.content, object_hook=Said)
    except ValueError:
        raise WrongCall(
            f"{response.url} answered with something that is not JSON; is it the console's address?"
        ) from None


def refusal(response: httpx2.Response) -> AirbossError:
    """The error that an answer which is no success tells of, in its own words."""
    kind = fault(response.status_code, response.url.path)
    try:
        said = response.json()["error"]
        kind = SetupError if said.get("code") == SETUP else kind
        error = kind(str(said["message"]))
        error.code, error.param = (text if isinstance(text := said.get(n), str) else None for n in NAMES)
        error.type = str(said.get("type") or error.type)
    except (ValueError, KeyError, TypeError, AttributeError):
        return kind(
            f"{response.url} answered {response.status_code} {response.reason_phrase}; is it the console's"
            " address?"
        )
    return error


LISTS = {
    "releases": "release list",
    "datasets": "dataset list",
    "evals": "eval list",
    "probes": "probe list",
    "tunes": "tune list",
    "finetunes": "finetune list",
    "jobs": "job list",
    "keys": "keys list",
    "nodes": "node list",
    "alarms": "monitor list",
    "approvals": "approvals list",
    "drift": "monitor drift",
}
"""The verb that shows what there is of each kind."""


def place(kind: str, name: str, action: str = "") -> str:
    """Where the admin API has a thing of this name, or does something to it. Raises WrongCall for what can be
    no name: it would be another place. A deployment may have a slash in its name."""
    if not name.strip("./") or ("/" in name and kind != "drift"):
        raise WrongCall(f"{name[:80]!r} is no name; `airboss {LISTS[kind]}` shows those that there are.")
    return f"/api/v1/{kind}/{quote(name, safe='')}{action}"


def fault(status: int, path: str) -> type[AirbossError]:
    """Whose fault an answer tells of: the call's, which must be changed, or else, so that the same may do
    later. A record or a trace that is not there may come yet; any other name that does not exist is a slip.
    """
    if status == 400:
        return ConfigError
    later = status in (408, 429) or (status == 404 and path.startswith(MAY_COME))
    return AirbossError if status >= 500 or later else WrongCall


def non_finite(given: Any, name: str = "") -> Iterator[str]:
    """The numbers of a body that JSON has not, in words: the client's own do not say which."""
    if isinstance(given, float) and not math.isfinite(given):
        yield f"{name} is {given}"
    elif isinstance(given, Mapping):
        for each, value in given.items():
            yield from non_finite(value, f"{name}.{each}" if name else str(each))
    elif isinstance(given, list | tuple):
        for value in given:
            yield from non_finite(value, name)
