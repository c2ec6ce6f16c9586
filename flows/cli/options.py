"""Options that several commands take."""

from collections.abc import Sequence
from typing import Annotated

import typer

Recipe = Annotated[
    str,
    typer.Option("--recipe", help="A recipe's name (see 'recipe list'), or a .toml or .json file."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override one setting: a.b=c. Repeatable.")
]
MusicFrom = Annotated[
    str, typer.Option("--source", help="archive or folder: short for --set fma.source=...")
]
HomeAt = Annotated[str, typer.Option("--home", help="Folder or s3:// address of everything.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Flow = Annotated[
    str,
    typer.Argument(
        help="A whole study (study, adapt), a part of one (fma, musdb, pretrain), or a table "
        "(table1, table2, table3, mixit_gain). 'recipe list' describes them."
    ),
]
Flows = Annotated[
    list[str] | None,
    typer.Argument(help="Flows to deploy; none: all, and only 'study' is scheduled."),
]
CronAt = Annotated[str, typer.Option("--cron", help="When to run, in five fields: '0 3 * * 1-5'.")]
Every = Annotated[
    str,
    typer.Option(
        "--every", help="How often to run: 90s, 30m, 6h; at midnight: 1d, or on Mondays: 2w."
    ),
]
Timezone = Annotated[str, typer.Option("--timezone", help="Time zone of both: Europe/Berlin.")]


def all_settings(given: Sequence[str] | None, source: str) -> list[str]:
    """Return the settings of `--set`, and of `--source` as the one that it abbreviates."""
    return [*(given or []), *([f"fma.source={source}"] if source else [])]
