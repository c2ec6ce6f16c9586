"""From what a result was made: marks followed from effect to cause, by their digests."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePosixPath

from flows.stages.data import CENSUS, PLAN
from flows.stages.quality_gate import GATE
from flows.stages.units import merge_marks
from pipelines.packing.unit_work import STAGE as PACK
from pipelines.tracks.plan import Outline, read_outline
from storage.config import digest_of
from storage.errors import ManifestError
from storage.home import marks
from storage.home.layout import Corpus, Home
from storage.home.marks import Mark


class LineageGraph:
    """All marks of a home, each with the marks that it was made out of."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.marks = sorted(marks.all_marks(home), key=lambda mark: (mark.finished, mark.key))

    @cached_property
    def _by_digest(self) -> Mapping[str, Mark]:
        # Of several that left the same bytes, the first: the later ones made nothing new.
        # A gate returns its input: it made nothing at all.
        made = (mark for mark in reversed(self.marks) if mark.stage != GATE.name)
        return {mark.digest: mark for mark in made}

    def parents(self, mark: Mark) -> dict[str, Mark | None]:
        """Return a mark's inputs by name; None where this home no longer holds one."""
        if mark.stage == PACK and "corpus" in mark.inputs:
            return {"plan": self._plan_of(mark)}
        found = {name: self._by_digest.get(digest) for name, digest in mark.inputs.items()}
        if mark.stage == CENSUS.name and not found.get(PACK):
            found[PACK] = self._packed(mark)
        return found

    def causes_first(self, wanted: Iterable[Mark]) -> list[Mark]:
        """Return every mark that led to these, and these, each once."""
        seen: dict[str, Mark] = {}

        def visit(mark: Mark) -> None:
            if mark.key in seen:
                return
            for parent in self.parents(mark).values():
                if parent:
                    visit(parent)
            seen[mark.key] = mark

        for mark in wanted:
            visit(mark)
        return list(seen.values())

    def _packed(self, census: Mark) -> Mark | None:
        """Return the units that a census counted as one mark, if they are as they were then."""
        plan = self._by_digest.get(census.inputs.get("plan", ""))
        outline = self._outline(plan) if plan else None
        if outline is None or plan is None:
            return None
        corpus = PurePosixPath(census.outputs[0].path).parent.name
        units = {
            mark.inputs["unit"]: mark
            for mark in self.marks
            if mark.stage == PACK and mark.inputs.get("corpus") == corpus
        }
        done = {unit.id: units[unit.digest] for unit in outline.units if unit.digest in units}
        if len(done) < len(outline.units):
            return None
        packed = merge_marks([unit.id for unit in outline.units], done)
        if packed.digest != census.inputs.get(PACK):
            return None
        any_unit = next(iter(done.values()), packed)
        return packed.model_copy(
            update={"config": any_unit.config, "inputs": {"plan": plan.digest}}
        )

    def _plan_of(self, unit: Mark) -> Mark | None:
        """Return the plan by which a unit, or all of them, was packed."""
        for mark in self.marks:
            outline = self._outline(mark) if mark.stage == PLAN.name else None
            if outline is None:
                continue
            if digest_of([unit.version, outline.digest(), unit.config])[:16] == unit.inputs.get(
                "corpus"
            ):
                return mark
        return None

    def _outline(self, plan: Mark) -> Outline | None:
        try:
            return read_outline(Corpus(plan.path(self.home, "plan.json").parent))
        except ManifestError:
            return None
