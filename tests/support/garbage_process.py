"""A gateway worker that collects no cycles, and tells on SIGUSR1 which there are: counts by type, as JSON in
`garbage.N.json` beside its journal."""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections import Counter
from itertools import count
from pathlib import Path

from airboss.governance import recogniser
from tests.support.gateway_process import main


def _tell(path: Path) -> None:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    gc.garbage.clear()
    gc.collect()
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(found))
    temporary.replace(path)


if __name__ == "__main__":
    names = (Path(sys.argv[2]).with_name(f"garbage.{number}.json") for number in count(1))
    signal.signal(signal.SIGUSR1, lambda *_: _tell(next(names)))
    gone = str(Path(sys.argv[2]).with_name("gone"))
    recogniser.COMMAND = (sys.executable, "-m", "tests.support.names_standin", gone)
    gc.disable()
    main()
