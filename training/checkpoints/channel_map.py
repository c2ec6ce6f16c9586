"""A stored channel map: which output of a model plays which stem."""

from pathlib import Path

from pydantic import ValidationError

from storage.errors import CheckpointError, ManifestError
from storage.files import read_json
from storage.records import ChannelMap


def read_map(path: Path) -> ChannelMap:
    """Read a channel map; raise `CheckpointError` that names the file if it is none."""
    try:
        return ChannelMap.model_validate(read_json(path))
    except (ManifestError, ValidationError) as error:
        raise CheckpointError(
            f"{path} is no channel map ({error}); select the channels again"
        ) from error


def chosen_outputs(path: Path, stems: tuple[str, ...]) -> tuple[int, ...]:
    """Return the outputs that a channel map chooses for these stems, in their order.

    Raises:
        CheckpointError: the file is no channel map, or one for other stems.
    """
    chosen = read_map(path)
    if chosen.stems != stems:
        raise CheckpointError(
            f"channel map {path} is for {', '.join(chosen.stems)}, but data.stems is "
            f"{', '.join(stems)}; select the channels again"
        )
    return chosen.channels
