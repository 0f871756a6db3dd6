"""Which table of prices is in force: the newer of what came with Airboss and what was put in its place."""

from __future__ import annotations

from airboss.config.prices import PriceTable, parse_prices, shipped
from airboss.domain.errors import WrongCall
from airboss.store.datadir import DataDir
from airboss.store.whole_file import replace_file


class PriceList:
    """The tables of one data directory."""

    def __init__(self, data: DataDir) -> None:
        self._path = data.prices_path

    def in_force(self) -> PriceTable:
        """The newer table. Raises ConfigError if the one that is kept has been spoilt."""
        if not self._path.exists():
            return shipped()
        kept = parse_prices(self._path.read_text(), source=str(self._path))
        return kept if kept.newer_than(shipped()) else shipped()

    def keep(self, text: str, source: str) -> PriceTable:
        """Keep a table, whole and checked, that is newer than the one in force; plans have its prices from
        the next one on. Raises ConfigError and WrongCall, with nothing changed."""
        table = parse_prices(text, source=source)
        before = self.in_force()
        if not table.newer_than(before):
            raise WrongCall(
                f"{source} is of {table.version}, and the prices in force are of {before.version}: give it a "
                "later version if it is newer"
            )
        replace_file(self._path, [text.encode()])
        return table
