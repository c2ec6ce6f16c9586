"""`python -m tests.torture [--kills N] [--mutations N] [--seed N]`: torture the packer.

Exit code 1 if anything was lost, altered, done twice, or left behind.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from storage.home.open import WORKING_COPIES
from tests.torture.damage import Damage, pack_damaged
from tests.torture.kills import Record, killed_again_and_again, two_at_once, undisturbed
from tests.torture.material import Form, Packing, config_of, packing, small_archive
from tests.torture.unreliable import unreliable_bucket, unreliable_source

FEWER = 5
"""Of the kills, one in so many is done where servers fail too."""
PAIRS = 5
WIDTH = 140


def killed(root: Path, kills: int, seed: int) -> Iterator[Record]:
    """Kill packers on homes in folders, then where the archive or the home is on a server."""
    archives = small_archive(root / "data", max(8, kills * 2 // 3), seed)
    forms: tuple[Form, ...] = ("clips", "segments")
    for form in forms:
        config = config_of(form)
        reference = undisturbed(packing(str(root / f"reference-{form}"), archives, config))

        def of(number: int, form: Form = form) -> Packing:
            return packing(str(root / f"{form}-{number}"), archives, config_of(form))

        record = Record(f"killed: folder, {form}")
        yield killed_again_and_again(record, of, reference, kills, seed)
    yield from unserved(root, max(3, kills // FEWER), seed)


def unserved(root: Path, kills: int, seed: int) -> Iterator[Record]:
    """Kill packers whose archive, or whose home, is on an unreliable server."""
    archives = small_archive(root / "served", max(6, kills), seed)
    config = config_of("segments")
    reference = undisturbed(packing(str(root / "reference-served"), archives, config))
    with unreliable_source(archives.archive, seed) as (source, server):
        record = Record("killed: archive on a server")

        def of(number: int) -> Packing:
            return packing(str(root / f"ranges-{number}"), archives, config, source)

        yield killed_again_and_again(record, of, reference, kills, seed)
        record.kills["(failed answers)"] = server.failed
    os.environ[WORKING_COPIES] = str(root / "scratch")
    with unreliable_bucket(seed) as (url, accidents):
        record = Record("killed: home in a bucket")
        yield killed_again_and_again(
            record, lambda n: packing(f"{url}/{n}", archives, config), reference, kills, seed
        )
        record.kills["(failed answers)"] = accidents.failed


def paired(root: Path, rounds: int, seed: int) -> Record:
    """Start two packers on one home at once."""
    archives = small_archive(root / "pairs", 12, seed)
    config = config_of("clips")
    reference = undisturbed(packing(str(root / "reference-pairs"), archives, config))
    return two_at_once(
        Record("two at once"),
        lambda number: packing(str(root / f"pair-{number}"), archives, config),
        reference, rounds, seed,
    )  # fmt: skip


def table_of(records: list[Record]) -> Table:
    """Return what was done to packers."""
    table = Table("", "rounds", "killed at", "units begun again", "homes", "s", "faults")
    for record in records:
        table.add_row(*record.row())
    return table


def table_of_damage(found: Damage) -> Table:
    """Return what became of damaged recordings, by what was done to them."""
    table = Table("done to it", "tracks", "became")
    for kind, reasons in sorted(found.by_kind.items()):
        table.add_row(kind, str(reasons.total()), _counts(reasons))
    table.add_section()
    table.add_row("all", str(found.tracks), _counts(found.reasons))
    return table


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())


def main() -> int:
    """Torture, tell, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    root = Path(tempfile.mkdtemp(prefix="torture-"))
    started = time.monotonic()
    records = []
    for record in killed(root, chosen.kills, chosen.seed):
        records.append(record)
        console.print(f"{record.name}: {record.rounds} rounds, {record.seconds:.0f} s")
    records.append(paired(root, PAIRS, chosen.seed))
    console.print(table_of(records))
    found = pack_damaged(root / "damage", chosen.mutations, chosen.seed)
    console.print(table_of_damage(found))
    console.print(
        f"{found.tracks} damaged tracks in {found.seconds:.0f} s; slowest {found.slowest[0]:.1f} s "
        f"({found.slowest[1]}), largest child {found.peak_mb} MB, {len(found.lost)} children lost"
    )
    for name, what in found.lost.items():
        console.print(f"  {name} {what}")
    faults = [f"{one.name}: {fault}" for one in records for fault in one.faults] + found.faults
    for fault in faults:
        console.print(f"FAULT {fault}")
    console.print(f"{len(faults)} faults, {time.monotonic() - started:.0f} s, seed {chosen.seed}")
    if faults:
        console.print(f"what is left lies in {root}")
    else:
        shutil.rmtree(root)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
