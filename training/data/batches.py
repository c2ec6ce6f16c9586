"""Sources of examples -> batches on the device: read ahead in threads, mixed where the model is.

Threads, not processes: decoding releases the interpreter lock, nothing is copied or pickled, and
a killed job leaves no orphans.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.audio.waveforms import Waveform
from storage.config import Json
from training.data.settings import DataSettings
from training.distributed import ProcessRank
from training.models.settings import ModelSettings

READ_AHEAD = 2
"""Batches in flight behind the one in use."""


class Example(NamedTuple):
    """What is read from disk for one example, before anything is mixed."""

    parts: Waveform
    """[P, C, T]: two mixtures, or one signal per stem."""
    gains_db: npt.NDArray[np.float32]
    """Drawn gains, in the form that the source's own `mix` takes."""


class Batch(NamedTuple):
    """Examples on the device."""

    inputs: Tensor
    """[B, I, C, T]: what the model is given. I is 1, the mixture, unless it mixes others' stems."""
    references: Tensor
    """[B, P, C, T]: what outputs are compared with, mixtures or stems."""

    @property
    def size(self) -> int:
        """Examples B."""
        return len(self.references)

    def split(self, examples: int) -> "list[Batch]":
        """Return the batch in pieces of so many examples; 0 leaves it whole."""
        parts = (torch.split(part, examples or self.size) for part in self)
        return [Batch(*pieces) for pieces in zip(*parts, strict=True)]

    def first(self, examples: int) -> "Batch":
        """Return the first so many examples."""
        return Batch(self.inputs[:examples], self.references[:examples])

    @classmethod
    def of_sum(cls, references_BPCT: Tensor) -> "Batch":
        """Return the batch whose one input is the sum of its references."""
        return cls(references_BPCT.sum(dim=1, keepdim=True), references_BPCT)


class Source(Protocol):
    """Examples by number; the same number always gives the same example."""

    def __len__(self) -> int:
        """Return how many examples there are (of a training source: in an epoch)."""
        ...

    def example(self, number: int) -> Example:
        """Return one example. A training source takes numbers beyond its length."""
        ...

    def epoch(self) -> Json:
        """Return what an epoch is made of, for the result's own account of itself."""
        ...

    def keys(self, number: int) -> tuple[str, ...]:
        """Return what an example is made of, to name it by when it does harm."""
        ...

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        """Return inputs and references of examples that were stacked."""
        ...


class Request(NamedTuple):
    """What is asked of a source: settings, and what of the rest of a run shapes its examples."""

    data: DataSettings
    model: ModelSettings
    seed: int
    """Of the run."""
    validation_examples: int
    """At most so many to validate with."""


class Sources(NamedTuple):
    """Where a run's examples come from."""

    training: Source
    validation: Source


class Loader:
    """This process's share of every batch of a training source and a validation source."""

    def __init__(
        self, sources: Sources, batch_size: int, rank: ProcessRank, workers: int = 0
    ) -> None:
        self._training, self._validation = sources
        self._batch_size, self._rank = batch_size, rank
        self._workers = max(1, workers)

    @property
    def batch_size(self) -> int:
        """Examples per step over all processes."""
        return self._batch_size

    def training(self, first_step: int) -> Iterator[Batch]:
        """Yield the batches of step `first_step` (from 0) and all that follow.

        Step s holds the examples s * batch_size to (s + 1) * batch_size - 1 over all processes.
        """
        starts = (step * self._batch_size for step in itertools.count(first_step))
        shares = (self._rank.share(start, start + self._batch_size) for start in starts)
        return self._stream(self._training, shares)

    def epoch(self) -> Json:
        """Return what an epoch of the training source is made of."""
        return self._training.epoch()

    def keys(self, step: int) -> list[str]:
        """Return the keys of all samples of a step, counted from 0, over all processes."""
        numbers = range(step * self._batch_size, (step + 1) * self._batch_size)
        return [key for number in numbers for key in self._training.keys(number)]

    def validation(self) -> Iterator[Batch]:
        """Yield batches of this process's share of all validation examples."""
        mine = self._rank.share(0, len(self._validation))
        size = -(-self._batch_size // self._rank.world)
        return self._stream(
            self._validation, (mine[start : start + size] for start in range(0, len(mine), size))
        )

    def _stream(self, source: Source, shares: Iterable[range]) -> Iterator[Batch]:
        pending: deque[list[Future[Example]]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="loader")
        try:
            for share in shares:
                pending.append([pool.submit(source.example, number) for number in share])
                if len(pending) > READ_AHEAD:
                    yield self._batch(source, pending.popleft())
            while pending:
                yield self._batch(source, pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _batch(self, source: Source, futures: list[Future[Example]]) -> Batch:
        examples = [future.result() for future in futures]
        parts = torch.from_numpy(np.stack([example.parts for example in examples]))
        gains = torch.from_numpy(np.stack([example.gains_db for example in examples]))
        return source.mix(self._rank.move(parts), self._rank.move(gains))
