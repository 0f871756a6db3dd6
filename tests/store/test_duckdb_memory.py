"""What the record store's process keeps of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ASKING = """
import sys
from pathlib import Path
from airboss.store.duckdb import DuckDBRecordLog
from tests.support.wait import until

def kb(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) for each in lines if each.startswith(name))

log = DuckDBRecordLog(Path(sys.argv[1]) / "records.duckdb")
before, most = kb("RssAnon"), kb("VmHWM")
with log._reading() as connection:
    words = "select md5(i::varchar) as word, i % 50000 as part from range(900000) as made (i)"
    connection.execute(f"select hash(list(word)) from ({words}) group by part").fetchall()
took = kb("VmHWM") - most  # on a busy machine some of it is given back before anybody looks
assert took > 40_000, took
until(lambda: kb("RssAnon") < before + 20_000, timeout_s=20)
log.close()
"""


def test_what_a_question_took_is_given_back(tmp_path: Path) -> None:
    """Within seconds, though nobody asks another: at rest the store holds little beside its pages."""
    done = subprocess.run(
        [sys.executable, "-c", ASKING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
