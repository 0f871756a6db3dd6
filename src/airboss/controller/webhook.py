"""Sends notifications to webhooks: signed, without redirects, bounded in time, never to a machine's own
metadata."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from airboss import __version__
from airboss.config import NotifierConfig
from airboss.config.checks_watch import check_webhook
from airboss.config.rules import is_reference
from airboss.controller.reaching import Lookup, Resolve, addresses, reachable
from airboss.domain.errors import ConfigError, SetupError
from airboss.store.alert_pages import link_words
from airboss.store.alert_rows import Notification

TIMEOUT_S: Final = 10.0
"""Of one try, from looking up the name to the head of the answer; no body is read."""


class WebhookSender:
    """`notify.Sender` by HTTP POST. `notifiers` are those in force, read at every try.

    A host is looked up once and the connection made to that very address, so that a name cannot be checked
    as one machine and reached as another. Private addresses are allowed, since receivers often have one;
    link-local ones are not: metadata services of clouds answer there to whoever asks.
    """

    def __init__(
        self,
        notifiers: Callable[[], Mapping[str, NotifierConfig]],
        resolve: Resolve,
        *,
        verify: ssl.SSLContext | bool = True,
        lookup: Lookup | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._notifiers = notifiers
        self._resolve = resolve
        self._verify = verify
        self._lookup = lookup or addresses
        self._timeout_s = timeout_s

    async def send(self, notification: Notification, now: datetime) -> str | None:
        """As `Sender.send`."""
        import httpx2  # noqa: PLC0415 - 60 ms, where something is told

        notifier = (await asyncio.to_thread(self._notifiers)).get(notification.notifier)
        if notifier is None:
            return f"the configuration has no notifier {notification.notifier!r} any more"
        try:
            async with asyncio.timeout(self._timeout_s):
                url, secret = await asyncio.to_thread(self._where, notification.notifier, notifier)
                content = slack(notification.body) if notifier.slack is not None else notification.body
                return await self._post(url, secret, notification, content, now)
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except (SetupError, ConfigError) as error:
            return str(error)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            # Not the library's words: they may hold the URL, which may be a secret.
            return f"the connection failed: {type(error).__name__}"

    def _where(self, name: str, notifier: NotifierConfig) -> tuple[str, str | None]:
        """The URL and the secret. Raises SetupError, ConfigError."""
        field = "webhook" if notifier.webhook is not None else "slack"
        url = self._known(notifier.webhook or notifier.slack or "")
        check_webhook(("notifiers", name, field), url, lambda _path, message: ConfigError(message))
        return url, self._known(notifier.secret) if notifier.secret is not None else None

    def _known(self, value: str) -> str:
        return self._resolve(value) if is_reference(value) else value

    async def _post(
        self, url: str, secret: str | None, notification: Notification, content: Any, now: datetime
    ) -> str | None:
        import httpx2  # noqa: PLC0415 - as above

        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = await asyncio.to_thread(self._lookup, host, port)
        address = next((each for each in found if reachable(each)), None)
        if address is None:
            return f"{host} is at {', '.join(found[:3]) or 'no address'}, where nothing is sent"
        pinned = parts._replace(netloc=f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        known = {} if "blocks" in content else {"id": notification.id}
        body = msgspec.json.encode({**content, **known})
        headers = {
            "host": named(host) if parts.port is None else f"{named(host)}:{port}",
            "content-type": "application/json",
            "user-agent": f"airboss/{__version__}",
            "x-airboss-notification": notification.id,
        }
        if secret is not None:
            headers["x-airboss-signature"] = signature(body, secret, now)
        async with (
            httpx2.AsyncClient(verify=self._verify, timeout=self._timeout_s, trust_env=False) as client,
            client.stream(
                "POST",
                pinned.geturl(),
                content=body,
                headers=headers,
                extensions={"sni_hostname": host},
                follow_redirects=False,
            ) as response,
        ):
            if 200 <= response.status_code < 300:
                return None
            return f"{host} answered {response.status_code}"


def named(host: str) -> str:
    """A host as HTTP names it. Raises UnicodeError for what can be no name."""
    return f"[{host}]" if ":" in host else host.encode("idna").decode()


def slack(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a Slack-compatible webhook takes: the line for people, and links to the alarm and to the calls.
    Slack's own three characters are escaped."""
    text = str(body.get("text", ""))
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, escaped)
    icon = {"firing": ":red_circle:", "resolved": ":large_green_circle:"}.get(
        str(body.get("state")), ":white_circle:"
    )
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"{icon} {text[:2900]}"}}
    ]
    label = link_words(body.get("kind"), team=body.get("team"), tag=body.get("tag"))
    if "proposal" in body or "period" in body:
        label = "Show what is asked for" if "proposal" in body else "Show what was spent"
    links = {"Show the alarm": body.get("page"), label: body.get("link")}
    shown = [{"type": "mrkdwn", "text": f"<{where}|{words}>"} for words, where in links.items() if where]
    if shown:
        blocks.append({"type": "context", "elements": shown})
    return {"text": text[:2900], "blocks": blocks}


def signature(body: bytes, secret: str, now: datetime) -> str:
    """`t=UNIX,v1=HEX`: the HMAC-SHA256 of `UNIX.BODY`, so that a receiver can tell an old one sent again."""
    at = int(now.timestamp())
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
