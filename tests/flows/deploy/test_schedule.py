"""Timings: which are read, as which schedules, and which are refused with their value."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from flows.__main__ import perform
from flows.deploy.schedule import NEVER, Timing
from storage.errors import ConfigError

USAGE, MACHINE = 2, 5
MIDNIGHT_IN_TOKYO = datetime(2023, 12, 31, 15, tzinfo=UTC)


def test_cron_and_interval_in_one_time_zone() -> None:
    cron, weeks = Timing("0 3 * * 1-5", "2w", "Europe/Berlin").schedules()
    assert (cron.cron, cron.timezone) == ("0 3 * * 1-5", "Europe/Berlin")
    assert weeks.rrule == "DTSTART:20240101T000000\nRRULE:FREQ=WEEKLY;INTERVAL=2"
    assert weeks.timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("48h", 172_800)]
)
def test_an_interval_is_counted_from_a_fixed_midnight(text: str, seconds: int) -> None:
    """Otherwise, deployed anew each hour, a run every six hours would never start."""
    [first], [again] = (Timing(every=text, timezone="Asia/Tokyo").schedules() for _ in range(2))
    assert first == again
    assert first.interval == timedelta(seconds=seconds)
    assert first.anchor_date == MIDNIGHT_IN_TOKYO
    assert first.timezone == "UTC"


def test_days_are_counted_from_a_fixed_monday() -> None:
    [days] = Timing(every="3d", timezone="Asia/Tokyo").schedules()
    assert days.rrule == "DTSTART:20240101T000000\nRRULE:FREQ=DAILY;INTERVAL=3"
    assert datetime(2024, 1, 1).weekday() == 0


def test_without_either_there_is_no_schedule() -> None:
    assert NEVER.schedules() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cron": "0 0 3 * * *"}, "--cron '0 0 3 * * *' has 6 fields"),
        (
            {"every": "6 hours"},
            "--every '6 hours' is not a valid interval; give one such as 90s, 30m",
        ),
        ({"every": "0h"}, "--every '0h'"),
        ({"every": "٣h"}, "--every '٣h'"),
        ({"every": "367d"}, "--every '367d' is more than a year; give an interval of up to 366d"),
        ({"every": "999999999w"}, "--every '999999999w' is more than a year"),
        ({"every": "9" * 5000 + "w"}, "--every '999"),
        ({"timezone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'; give a name such as"),
        ({"timezone": "europe/berlin"}, "'europe/berlin'; did you mean 'Europe/Berlin'?"),
        ({"timezone": "CEST"}, "unknown time zone 'CEST'; give a name such as Europe/Berlin"),
        ({"timezone": "Factory"}, "unknown time zone 'Factory'"),
        ({"timezone": ""}, "unknown time zone ''"),
    ],
)
def test_what_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Timing(**given)
    assert said in str(refused.value)


@pytest.mark.parametrize("command", ["serve", "deploy"])
@pytest.mark.parametrize(
    "words",
    [["--cron", "nonsense"], ["--every", "soon"], ["--every", "1d", "--timezone", "Berlin/Europe"]],
    ids=" ".join,
)
def test_it_is_refused_before_any_server_is_asked(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    words: list[str],
) -> None:
    """The server that is named does not answer, which would be another exit code."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    order = [command, "study", "--recipe", "smoke"]
    assert perform([*order, *words]) == USAGE
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"'{words[-1]}'" in err
    assert perform([*order, "--cron", "0 3 * * *"]) == MACHINE
    assert "no Prefect server answers at PREFECT_API_URL" in capsys.readouterr().err


def test_judging_loads_nothing_else_of_prefect() -> None:
    """Which reads its settings when it is imported, and the server is not known yet."""
    code = (
        "import sys\nfrom flows.deploy.schedule import Timing\n"
        "Timing('0 3 * * *', '2w', 'Europe/Berlin')\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'prefect'])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"
