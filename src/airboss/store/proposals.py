"""Changes that wait for approval in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, func, insert, select, update

from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import proposals
from airboss.store.proposal_rows import CHARS_MAX, DECIDED_MAX, Proposal, State


class SqlProposals(LedgerPart):
    """`proposal_rows.ProposalStore`. Safe to use by threads, and by several processes on one database."""

    def proposals(self, *, state: State | None = None, limit: int = 100) -> Sequence[Proposal]:
        """As `ProposalStore.proposals`."""
        asked = select(proposals.c.content).order_by(proposals.c.number.desc()).limit(limit)
        if state is not None:
            asked = asked.where(proposals.c.state == state)
        with self._read() as connection:
            return [msgspec.json.decode(each, type=Proposal) for each in connection.execute(asked).scalars()]

    def waiting(self) -> int:
        """As `ProposalStore.waiting`."""
        asked = select(func.count()).select_from(proposals).where(proposals.c.state == "waiting")
        with self._read() as connection:
            return int(connection.execute(asked).scalar_one())

    def proposal(self, number: int) -> Proposal | None:
        """As `ProposalStore.proposal`."""
        with self._read() as connection:
            asked = select(proposals.c.content).where(proposals.c.number == number)
            found = connection.execute(asked).scalar()
            return None if found is None else msgspec.json.decode(found, type=Proposal)

    def propose(self, proposal: Proposal) -> int:
        """As `ProposalStore.propose`."""
        with self._write() as connection:
            last = connection.execute(select(func.max(proposals.c.number))).scalar() or 0
            made = msgspec.structs.replace(proposal, number=last + 1)
            content = msgspec.json.encode(made).decode()
            connection.execute(
                insert(proposals).values(number=made.number, state=made.state, content=content)
            )
            decided = proposals.c.state != "waiting"
            sizes = select(proposals.c.number, func.length(proposals.c.content)).where(decided)
            chars = 0
            for place, (number, size) in enumerate(
                connection.execute(sizes.order_by(proposals.c.number.desc())).all()
            ):
                chars += size
                if place >= DECIDED_MAX or chars > CHARS_MAX:
                    connection.execute(delete(proposals).where(decided, proposals.c.number <= number))
                    break
        return made.number

    def decide(self, decided: Proposal) -> bool:
        """As `ProposalStore.decide`."""
        content = msgspec.json.encode(decided).decode()
        waits = (proposals.c.number == decided.number, proposals.c.state == "waiting")
        with self._write() as connection:
            changed = update(proposals).where(*waits).values(state=decided.state, content=content)
            return bool(connection.execute(changed).rowcount)
