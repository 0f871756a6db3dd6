"""What alarms about recording watch."""

from __future__ import annotations

from airboss.compose.watching import lost
from airboss.domain.status import JournalStatus, RetentionStatus


def test_a_callers_slip_is_no_loss() -> None:
    """Feedback on a record that is not there is put away; any key could fire an alarm with it."""
    journal = JournalStatus(
        unmoved_bytes=0,
        oldest_unmoved_at=None,
        lag_s=0.0,
        store_up=True,
        moved_records=9,
        corrupt_frames=1,
        stray_feedback=5,
    )
    retention = RetentionStatus(dropped=3, disk_full=True)
    assert lost(journal, retention) == {"dead_letters": 1, "bodies_dropped": 3, "disk_full": 1}
