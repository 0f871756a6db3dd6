"""How values read on a page: numbers with units, times, and text that cannot pretend to be something else.

Every function is total: None gives `NO_DATA`, never a zero.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from markupsafe import Markup, escape

NO_DATA = Markup(
    '<span class="nil"><span aria-hidden="true">&ndash;</span><span class="sr">no data</span></span>'
)
"""What stands where nothing was measured."""

NB = "\u00a0"
"""Between a number and its unit, so that no line breaks there."""

HUES = 24
"""Release hues that the style sheet knows, as classes `r0` to `r23`."""

# C0 but tab and newline, DEL and C1, the bidirectional overrides and isolates, the zero-width no-break space,
# line and paragraph separators, and lone surrogates, which no UTF-8 page can hold.
DECEPTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
"""Characters that hide, or reorder what stands beside them."""


MARKS = re.compile(r"(`[^`\n]{1,300}`|\*\*(?=\S)[^*\n]{1,500}(?<=\S)\*\*)")


def visible(text: str) -> Markup:
    """`text` escaped for HTML, with every deceptive character replaced by its name in a marked span."""
    text = text.replace("\r\n", "\n")
    parts: list[str] = []
    end = 0
    for match in DECEPTIVE.finditer(text):
        parts.append(str(escape(text[end : match.start()])))
        parts.append(f'<span class="ctl">U+{ord(match.group()):04X}</span>')
        end = match.end()
    parts.append(str(escape(text[end:])))
    return Markup("").join(Markup(part) for part in parts)  # noqa: S704  # every part was escaped above


def begun(text: str, chars: int) -> Markup:
    """As `visible`, so many characters of it at most: what is left out shows as an ellipsis."""
    return visible(text if len(text) <= chars else text[: chars - 1].rstrip(" -") + "…")


def prose(text: str) -> Markup:
    """As `visible`, with `code` and **bold** shown as such: the two marks of Markdown that cannot mislead."""
    pieces = MARKS.split(text)  # every second one is a mark
    return Markup("").join(marked(each) if index % 2 else visible(each) for index, each in enumerate(pieces))


def marked(mark: str) -> Markup:
    """One mark of Markdown, with its own marks taken off."""
    if mark.startswith("`"):
        return Markup("<code>{}</code>").format(visible(mark[1:-1]))
    return Markup("<strong>{}</strong>").format(visible(mark[2:-2]))


def plain(text: str) -> str:
    """As `visible`, for places that hold no markup: attributes, titles."""
    return DECEPTIVE.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)


def escaped_json(text: str) -> str:
    """JSON text with deceptive characters as JSON escapes: the same value, safe to look at and to copy."""
    return DECEPTIVE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def count(value: float | None) -> str:
    """A whole number in full: `1,204,511`."""
    return NO_DATA if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A number that fits a card: whole ones in full up to `99,999`, then `148 k`, `1.2 M`."""
    if value is None:
        return NO_DATA
    if abs(value) < 99_999.5 and float(value).is_integer():
        return f"{value:,.0f}"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.1f}{NB}{unit}" if abs(scaled) < 9.95 else f"{scaled:.0f}{NB}{unit}"
    return f"{value:.0f}" if float(value).is_integer() or abs(value) >= 99.5 else f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    """A duration with three or so significant signs: `0.42 ms`, `812 ms`, `1.84 s`, `2 min 05 s`,
    `5 h 00 min`."""
    if value is None:
        return NO_DATA
    if value < 10:
        return f"{value:.2f}{NB}ms" if value < 1 else f"{value:.1f}{NB}ms"
    if value < 999.5:
        return f"{value:.0f}{NB}ms"
    seconds = value / 1000
    if seconds < 59.95:
        return f"{seconds:.2f}{NB}s" if seconds < 9.995 else f"{seconds:.1f}{NB}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours:,}{NB}h{NB}{minutes:02d}{NB}min"
    return f"{minutes}{NB}min{NB}{rest:02d}{NB}s"


def in_ms(value: float | None) -> str:
    """Milliseconds without the unit, for a column that has it in its head: `0.42`, `8.1`, `1,842`."""
    if value is None:
        return NO_DATA
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def usd(value: float | Decimal | None) -> str:
    """Money: cents from a cent up, two significant digits below."""
    if value is None:
        return NO_DATA
    amount = float(value)
    if amount == 0:
        return "$0"
    if abs(amount) >= 0.1:
        return f"${amount:,.2f}"
    digits = 1 - math.floor(math.log10(abs(amount)))
    return f"${amount:.{min(digits, 9)}f}"


def tick(value: float) -> str:
    """A mark of a time axis in milliseconds: `0`, `500 ms`, `2.5 s`."""
    if value == 0:
        return "0"
    return f"{value:g}{NB}ms" if value < 1000 else f"{value / 1000:g}{NB}s"


def percent(part: float, whole: float) -> str:
    """A share; `NO_DATA` of nothing. A small share is never rounded to zero."""
    if whole <= 0:
        return NO_DATA
    share = 100 * part / whole
    if share == 0:
        return f"0{NB}%"
    if share < 0.01:
        return f"<{NB}0.01{NB}%"
    if share < 1:
        return f"{share:.2f}{NB}%"
    return f"{share:.1f}{NB}%" if share < 99.95 else f"100{NB}%"


def size(value: float | None) -> str:
    """Bytes: `812 B`, `1.4 MiB`."""
    if value is None:
        return NO_DATA
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f}{NB}{unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f}{NB}{unit}"
        amount /= 1024
    return f"{amount:.1f}{NB}TiB"


def age(value: timedelta | None) -> str:
    """How long ago, in one unit: `3 s`, `12 min`, `5 h`, `4 d`."""
    if value is None:
        return NO_DATA
    seconds = max(0, int(value.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length}{NB}{unit}"
    return f"{seconds}{NB}s"


def moment(value: datetime | None, zone: tzinfo, *, now: datetime, millis: bool = False) -> str:
    """A point in time in `zone`; the day only if it is not today's, the year only if it is not this one."""
    if value is None:
        return NO_DATA
    local, today = value.astimezone(zone), now.astimezone(zone)
    clock = local.strftime("%H:%M:%S") + (f".{local.microsecond // 1000:03d}" if millis else "")
    if local.date() == today.date():
        return clock
    day = f"{local.day} {local.strftime('%b')}"
    return f"{day} {clock}" if local.year == today.year else f"{day} {local.year} {clock}"


def on_axis(at: datetime, zone: tzinfo, *, day: bool) -> str:
    """A time below a picture: its hour and minute, or its day; where a day begins that too."""
    local = at.astimezone(zone)
    midnight = not local.hour and not local.minute
    return f"{local.day} {local.strftime('%b')}" if day or midnight else local.strftime("%H:%M")


def hue(digest: str) -> int:
    """The hue of a release, 0 to `HUES` - 1: the same for one digest wherever it stands."""
    try:
        return int(digest[:8], 16) % HUES
    except ValueError:
        return sum(digest.encode("utf-8", "replace")) % HUES
