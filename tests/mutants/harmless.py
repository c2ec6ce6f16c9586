"""Mutants that no test need notice, by module and reason: they change nothing that is promised.

An entry is the mutant's name as the tool prints it. It names no line, so it outlives edits; where
the source around the fault changes, the tool says that the entry names nothing any more.
"""

HARMLESS: dict[str, dict[str, tuple[str, ...]]] = {}


def reasons(module: str) -> dict[str, str]:
    """Return why each harmless mutant of a module is harmless."""
    listed = HARMLESS.get(module, {})
    return {mutant: reason for reason, mutants in listed.items() for mutant in mutants}
