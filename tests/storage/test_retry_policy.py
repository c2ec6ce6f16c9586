"""What a server asks for, in its two forms. Waits and attempts are tested in `test_remote.py`."""

import time
from email.utils import formatdate

from storage.retry_policy import seconds_asked


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_asked("7") == 7
    assert 50 < seconds_asked(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert seconds_asked(formatdate(time.time() - 60, usegmt=True)) == 0
    assert seconds_asked("soon") == seconds_asked("") == 0
