"""Where state lives: records in a `RecordLog`, everything else in a `Ledger`."""

import os

ZEROED = "DUCKDB_JE_MALLOC_CONF"
# DuckDB writes the last page of what it compresses (zstd) as it lies in memory: behind what belongs there
# stood what had been there before, such as what somebody said whom an erasure has just taken out. So its
# memory comes zeroed, which costs nothing that could be measured. Its allocator reads this once, when it is
# loaded: so here, before anything of this room imports it.
if "zero:" not in os.environ.get(ZEROED, ""):
    os.environ[ZEROED] = ",".join(filter(None, (os.environ.get(ZEROED), "zero:true")))
