"""One file per verb; `verbs` gathers them."""

from __future__ import annotations

import gc

# What is loaded stays. To look through it for garbage again and again while the rest is being loaded took a
# quarter of the processor time of a verb. This module is loaded before all that.
gc.set_threshold(10_000, 50)
