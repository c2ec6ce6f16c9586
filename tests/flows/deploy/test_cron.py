"""Cron expressions: which are refused, in one sentence, with what to give instead."""

import asyncio
from datetime import UTC, datetime

import pytest
from prefect.server.schemas.schedules import CronSchedule

from flows.deploy.cron import judge
from storage.errors import ConfigError

NIGHT = "0 3 * * *"


@pytest.mark.parametrize(
    "cron",
    [
        NIGHT, " 0 3 * * * ", "*/10 * * * *", "0 3 * * 1-5", "0 3 * MAR,APR THU-FRI", "0 3 * * 7",
        "0 3 l * *", "0 3 * * 5#1", "0 3 ? * 1", "0 0 29 2 *", "0 3 1,15 * *", "30 2 31 1-12 *",
    ],
)  # fmt: skip
def test_what_is_taken(cron: str) -> None:
    judge(cron)


@pytest.mark.parametrize(
    ("cron", "offered"),
    [
        ("0 0 3 * * *", NIGHT),
        ("0 0 3 * * 1-5", "0 3 * * 1-5"),
        ("30 0 3 ? * MON", "0 3 * * MON"),
        # Of Quartz with a year, and of AWS, which has a year and no seconds.
        ("0 0 3 ? * MON *", "0 3 * * MON"),
        ("0 3 * * ? 2027", NIGHT),
        ("@daily", "0 0 * * *"),
        (" @Weekly", "0 0 * * 0"),
    ],
)
def test_other_forms_are_refused_with_the_five_fields(cron: str, offered: str) -> None:
    with pytest.raises(ConfigError) as refused:
        judge(cron)
    assert str(refused.value).startswith(f"--cron '{cron}' ")
    assert str(refused.value).endswith(f"month and weekday, perhaps '{offered}'")
    judge(offered)


@pytest.mark.parametrize(
    "cron",
    [
        "*/10 * * * * *", "0 61 3 * * *", "0 0 31 2 * *", "0 3 * * 1 2 3 4",
        # Quartz and AWS call Sunday 1: the five fields would be another day's.
        "0 0 3 ? * 2", "0 0 3 * * 2 *", "0 3 ? * 2 2027",
        "@reboot", "@", "every night", "0 3 * *", "  ",
    ],
)  # fmt: skip
def test_nothing_is_offered_where_it_would_be_a_guess(cron: str) -> None:
    with pytest.raises(ConfigError, match=r"such as '0 3 \* \* 1-5'$") as refused:
        judge(cron)
    assert f"--cron '{cron}'" in str(refused.value)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("61 3 * * *", "'61' is not a valid minute; give 0 to 59"),
        ("0 24 * * *", "'24' is not a valid hour; give 0 to 23"),
        ("0 3 0 * *", "'0' is not a valid day; give 1 to 31"),
        ("0 3 * foo *", "'foo' is not a valid month; give 1 to 12 or JAN to DEC"),
        ("0 3 * * 8", "'8' is not a valid weekday; give 0 to 7 (0 and 7 are Sunday) or SUN to SAT"),
        ("*/0 3 * * *", "'*/0' is not a valid minute"),
        # Drawn anew each time that the server plans.
        ("R 3 * * *", "'R' is not a valid minute"),
        ("1,r(1-3) 3 * * *", "'1,r(1-3)' is not a valid minute"),
        ("0 h * * *", "'h' is not a valid hour"),
        ("٣ 3 * * *", "'٣' is not a valid minute"),
    ],
)
def test_the_wrong_field_is_named(cron: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        judge(cron)
    assert str(refused.value).startswith(f"--cron '{cron}': {said}")


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *"])
def test_what_never_fires(cron: str) -> None:
    with pytest.raises(ConfigError, match="never fires: Prefect finds no such day within fifty"):
        judge(cron)


def test_a_sixth_field_means_seconds_to_prefect() -> None:
    """Why it is refused: three in the morning would be sixty runs on the third of each month."""
    rule = CronSchedule(cron="0 0 3 * * *")
    first, *more = asyncio.run(rule.get_dates(n=60, start=datetime(2027, 1, 1, tzinfo=UTC)))
    assert first == datetime(2027, 1, 3, 0, 0, 0, tzinfo=UTC)
    assert more[-1] == datetime(2027, 1, 3, 0, 0, 59, tzinfo=UTC)
