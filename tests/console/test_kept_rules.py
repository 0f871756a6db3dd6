"""What a configuration changes of a rollout that runs, and what it does not."""

from __future__ import annotations

from tests.console.looped import LoopSite
from tests.support.seed_loop import CONFIG, NEW_PROMPT, OLD_PROMPT


def warned(site: LoopSite, old: str, new: str, prompt: str = NEW_PROMPT) -> list[str]:
    """What applying the configuration with another line warns of."""
    text = CONFIG.replace("PROMPT", prompt)
    assert old in text
    answer = site.program().post("/api/v1/config", json={"config": text.replace(old, new)})
    assert answer.status_code == 200, answer.text
    said: list[str] = answer.json()["warnings"]
    return [each for each in said if "rollout of 'support'" in each]


def test_a_rollout_that_runs_keeps_its_rules_and_who_edits_them_hears_it(fresh: LoopSite) -> None:
    """Steps that are edited are the next one's, which is told by name; who is named holds at once, and where
    nothing runs, or the rollout ends by the same change, there is nothing to tell."""
    steps = "steps = [10, 25, 50]"
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.apply(NEW_PROMPT)
    assert warned(fresh, steps, "steps = [5, 50]") == []
    begun = fresh.loop.start()
    (said,) = warned(fresh, steps, "steps = [20, 60]\nalpha = 0.1")
    assert "without the change of steps, alpha, which are for the next one" in said
    assert "`airboss rollout abort support`" in said
    assert fresh.loop.rollouts.list()[0].rules == begun.rules
    assert len(warned(fresh, steps, steps)) == 1, "back again, it is a change, too"
    assert warned(fresh, steps, f'{steps}\nalways = {{ users = ["ann"] }}') == []
    assert warned(fresh, steps, "steps = [1, 2]", prompt="Another.") == []
