"""Packing under Prefect: batches of units as tasks, and one task that waits for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from prefect.states import Completed

from flows.engine.shared_slot import SharedSlot
from flows.engine.task_policy import MarkFuture, Outcome, as_task
from flows.jobs.deadlines import TimeLimit, within
from flows.stage_id import PackId, Role, StageId
from flows.stages.units import Units, batched, merge_marks
from flows.studies.disk_space import Need, packing_need
from flows.ui.progress import Board, StageProgress, StageWatch
from storage.home.marks import Mark


@dataclass(frozen=True)
class Packing:
    """The packing of one corpus in one run."""

    units: Units
    corpus: str
    """Tells its tasks apart from those of other corpora of the run; empty of the first."""
    board: Board
    slot: SharedSlot
    """The machine's, and the workers that all packing tasks of the run share."""
    limit: TimeLimit

    @property
    def whole(self) -> PackId:
        """The task that waits for all units."""
        return PackId.whole(self.corpus)

    @cached_property
    def done(self) -> Mapping[str, Mark]:
        """Units that earlier runs packed: a rerun has no task for them."""
        return {name: found.mark for name, found in self.units.look().items() if found.mark}

    @property
    def need(self) -> Need:
        """What it still writes here."""
        sizes = {unit.id: unit.bytes for unit in self.units.outline.units}
        left = [size for name, size in sizes.items() if name not in self.done]
        return packing_need(self.units.home, self.units.config, left, [*self.done.values()])

    def submit(self, archive: str, plan: MarkFuture, tasks: int) -> dict[StageId, MarkFuture]:
        """Submit what is left as so many tasks at most, and the task that waits for all."""
        left = [name for name in self.units.works if name not in self.done]
        if self.done and left:
            before = merge_marks([*self.done], self.done)
            state = StageProgress(
                Role.PACKING, "cached", note=f"{len(self.done)} units", mark=before
            )
            self.board.conclude(PackId.earlier(self.corpus), state)
        batches: dict[StageId, MarkFuture] = {
            PackId.batch(names, self.corpus): self._pack(names, archive, plan)
            for names in batched(left, self.units.config, tasks)
        }
        return {**batches, self.whole: self._gather(plan, [*batches.values()])}

    def _pack(self, names: list[str], archive: str, plan: MarkFuture) -> MarkFuture:
        what = PackId.batch(names, self.corpus)

        def body(plan: Mark) -> Outcome:
            watch = StageWatch(what, self.board, Role.PACKING)
            with (
                self.slot.turn(watch.waits, self.units.config.workers) as turn,
                watch.working(),
                within(self.limit, what.label),
            ):
                mark = merge_marks(names, self.units.pack(names, archive, watch, turn))
            watch.finish(f"{len(names)} units packed", mark)
            return mark

        submitted: MarkFuture = as_task(body, what, "packing").submit(plan=plan)
        return submitted

    def _gather(self, plan: MarkFuture, batches: list[MarkFuture]) -> MarkFuture:
        """Submit what waits for all batches and leaves one mark for all units."""

        def body(plan: Mark, batches: list[Mark]) -> Outcome:
            watch, before = StageWatch(self.whole, self.board, Role.PACKING), len(self.done)
            if not batches:
                mark = self.units.gather(self.done)
                watch.reuse(mark)
                message = f"{before} units were packed before"
                return Completed(name="Cached", message=message, data=mark)
            with watch.working():
                found = {name: one.mark for name, one in self.units.look().items() if one.mark}
                mark = self.units.gather(found)
            watch.finish(f"all {len(found)} units are packed, {before} of them before", mark)
            return mark

        submitted: MarkFuture = as_task(body, self.whole, "light").submit(
            plan=plan, batches=batches
        )
        return submitted
