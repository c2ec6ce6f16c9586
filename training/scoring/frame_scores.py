"""Scores of every frame, and the JSON that museval writes for a song, which sigsep's tools read.

S sources, N frames.
"""

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from storage.errors import MachineError
from storage.files import write_bytes
from training.scoring import metrics

Array = npt.NDArray[np.float64]
NAMES = ("SDR", "SIR", "ISR", "SAR")
CLOSED_FORM = "closed form of BSSEval v4"
DECIMALS = 5
"""To which museval rounds what it stores."""


class Frames(NamedTuple):
    """The frames of one song, in dB; NaN where undefined."""

    values: dict[str, Array]
    """[S, N] by the names of `NAMES`, or SDR alone."""
    made_by: str
    """The library's version, or `CLOSED_FORM`."""

    def medians(self) -> list[float]:
        """Return each source's median SDR over the frames that are not NaN; NaN if all are."""
        rows = [row[~np.isnan(row)] for row in self.values["SDR"]]
        return [float(np.median(row)) if row.size else math.nan for row in rows]


def closed_form(references_SCT: Tensor, estimates_SCT: Tensor, frame: int) -> Frames:
    """Return the SDR of every frame, by `metrics.csdr_frames`; SIR, ISR and SAR stay unknown."""
    sdr_SN = metrics.csdr_frames(references_SCT, estimates_SCT, frame).cpu().numpy()
    return Frames({"SDR": sdr_SN}, CLOSED_FORM)


def by_museval(references_SCT: Tensor, estimates_SCT: Tensor, frame: int) -> Frames:
    """Return museval's own scores: over a hundred times slower, and its SDR is the closed form.

    Raises:
        MachineError: museval is not installed, or cannot be imported without ffmpeg.
    """
    try:
        import museval  # noqa: PLC0415 - slow, and fails to import without ffmpeg
    except (ImportError, RuntimeError) as error:
        raise MachineError(
            f"museval cannot be imported ({error}); install ffmpeg, or set museval=false"
        ) from error
    sdr, isr, sir, sar = museval.evaluate(
        references_SCT.mT.double().numpy(), estimates_SCT.mT.double().numpy(), frame, frame
    )
    found = {"SDR": sdr, "SIR": sir, "ISR": isr, "SAR": sar}
    return Frames(found, version("museval"))


def write(path: Path, stems: Sequence[str], frames: Frames, seconds: float = 1.0) -> None:
    """Write one song's frames, each `seconds` long, as museval's `TrackStore` does.

    What is undefined, infinite or unknown is NaN, as there: JSON has no such number, but museval
    and Python write it and read it.
    """
    unknown = np.full_like(frames.values["SDR"], np.nan)
    columns = {name: frames.values.get(name, unknown) for name in NAMES}
    targets = [
        {
            "name": stem,
            "frames": [
                {
                    "time": number * seconds,
                    "duration": seconds,
                    "metrics": {name: _rounded(columns[name][row, number]) for name in NAMES},
                }
                for number in range(unknown.shape[1])
            ],
        }
        for row, stem in enumerate(stems)
    ]
    store = {"targets": targets, "museval_version": frames.made_by}
    write_bytes(path, (json.dumps(store, indent=2) + "\n").encode())


def _rounded(value: float) -> float:
    return round(float(value), DECIMALS) if math.isfinite(value) else math.nan
