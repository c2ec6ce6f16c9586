"""Options that several commands take."""

from typing import Annotated

import typer

Recipe = Annotated[str, typer.Option("--recipe", help="Name of a recipe; see 'recipes'.")]
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
        help="study; a part of it: fma, musdb, pretrain; or table1, table2, table3, mixit_gain."
    ),
]
