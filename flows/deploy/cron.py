"""Cron expressions, judged by the parser that plans them, before any server is started or asked.

That parser, croniter, is a part of Prefect, and Prefect reads its settings when it is imported:
before there is a server to be set. So croniter's own file is loaded, and nothing else of Prefect.
"""

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType

from storage.errors import ConfigError

FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day": "1 to 31",
    "month": "1 to 12 or JAN to DEC",
    "weekday": "0 to 7 (0 and 7 are Sunday) or SUN to SAT",
}
"""The fields in their order, and what may stand in each."""
EXAMPLE = "0 3 * * 1-5"
SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What other programs take in place of five fields."""
RANDOM = re.compile(r"(^|,)[RH]", re.IGNORECASE)
"""croniter's `R` and `H`: drawn at random, and again each time that the server plans."""


def judge(cron: str) -> None:
    """Refuse a cron expression that is wrong, that never fires, or that has not five fields.

    Raises:
        ConfigError: it is one of these; the message offers the five fields where they can be
            guessed.
    """
    fields = cron.split()
    if cron.lstrip().startswith("@"):
        raise ConfigError(
            f"--cron '{cron}' is a shorthand, which is not taken; "
            + _advice(SHORTHANDS.get(cron.strip().lower(), ""))
        )
    if len(fields) > len(FIELDS):
        raise ConfigError(
            f"--cron '{cron}' has {len(fields)} fields, and Prefect would take the sixth for "
            "seconds, not the first; " + _advice(_without_seconds(fields))
        )
    if len(fields) < len(FIELDS):
        raise ConfigError(f"--cron '{cron}' is not a valid cron expression; {_advice('')}")
    for (name, values), field in zip(FIELDS.items(), fields, strict=True):
        if not _is_valid(name, field):
            raise ConfigError(
                f"--cron '{cron}': '{field}' is not a valid {name}; give {values}, a list or a "
                "range of them, or *"
            )
    if not _fires(cron):
        raise ConfigError(
            f"--cron '{cron}' never fires: Prefect finds no such day within fifty years; give a "
            "day that its month has"
        )


def _advice(offered: str) -> str:
    what = "give the five fields of minute, hour, day, month and weekday"
    return f"{what}, perhaps '{offered}'" if offered else f"{what}, such as '{EXAMPLE}'"


def _without_seconds(fields: list[str]) -> str:
    """Return the five fields that six or seven probably mean, or nothing: never a guess at days.

    With seconds first, six are Spring's and Quartz's, seven Quartz's with a year last. With a year
    last and no seconds six are those of AWS, which always have a `?` for the day or the weekday.
    """
    if len(fields) > 7:
        return ""
    of_aws = len(fields) == 6 and "?" in (fields[2], fields[4])
    five = fields[:5] if of_aws else fields[1:6]
    # Quartz and AWS number the weekdays from 1 = Sunday.
    numbered = len(fields) == 7 or "?" in fields
    if (not of_aws and not fields[0].isdecimal()) or (numbered and re.search(r"\d", five[4])):
        return ""
    offered = " ".join(five).replace("?", "*")
    try:
        judge(offered)
    except ConfigError:
        return ""
    return offered


def _is_valid(name: str, field: str) -> bool:
    """Whether a field is valid in its place, where all the others are `*`."""
    if not field.isascii() or RANDOM.search(field):
        return False
    alone = " ".join(field if other == name else "*" for other in FIELDS)
    return bool(_croniter().croniter.is_valid(alone))


def _fires(cron: str) -> bool:
    """Whether croniter finds a time within its fifty years."""
    croniter = _croniter()
    try:
        croniter.croniter(cron).get_next()
    except croniter.CroniterError:
        return False
    return True


@cache
def _croniter() -> ModuleType:
    prefect = importlib.util.find_spec("prefect")
    assert prefect and prefect.submodule_search_locations, "Prefect is installed"
    file = Path(prefect.submodule_search_locations[0], "_vendor", "croniter", "croniter.py")
    spec = importlib.util.spec_from_file_location("croniter_of_prefect", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
