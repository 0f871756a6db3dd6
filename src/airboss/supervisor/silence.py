"""When a process that says nothing of itself counts as one that hangs. Facts in, decision out.

Looks are counted, and not seconds: while the supervisor stands still, suspended with the machine or stopped
in its terminal, nobody looks, and nobody is found silent after it.
"""

from __future__ import annotations

from typing import Final

import msgspec

LOOK_S: Final = 5.0
"""Between two looks; many words of a process that is well (`lifeline.SAY_S`)."""
LOOKS_MAX: Final = 12
SPUN_S: Final = 60.0
"""Processor time without a word, after which who computes is not just slow."""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Looks in which a process could have said something and has not, since its last word, and the processor
    time that it had used up by then, in seconds."""

    looks: int = 0
    cpu_s: float

    @property
    def hangs(self) -> bool:
        """Whether it will not say anything any more."""
        return self.looks >= LOOKS_MAX


def looked(silence: Silence, *, said: bool, held_up: bool, cpu_s: float) -> Silence:
    """What is known after one more look, in which the process has `said` something since the last, or is
    `held_up` by others and could not; `cpu_s` as in Silence, by now."""
    if said:
        return Silence(cpu_s=cpu_s)
    if held_up and cpu_s - silence.cpu_s < SPUN_S:
        return silence
    return msgspec.structs.replace(silence, looks=silence.looks + 1)
