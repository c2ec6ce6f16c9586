"""What a model's weights are before the first step, as settings; `training.checkpoints.start` acts.

To add a start, write its settings, name them in `StartConfig`, and give its function there.
"""

from typing import Annotated, Literal

from pydantic import Field

from storage.config import Config


class InputsStart(Config):
    """As the run's inputs say: of the input `model` all weights, of none seeded random ones.

    Where there is an input `channels` too, a channel map, it chooses one output per stem.
    """

    kind: Literal["inputs"] = "inputs"
    """Which start this is."""


class PrefixesStart(Config):
    """Parts of the input `model`, chosen by how their tensors' names begin; the rest is fresh.

    What was copied and what is fresh is listed in the run's log.
    """

    kind: Literal["prefixes"] = "prefixes"
    """Which start this is."""
    prefixes: dict[str, str] = Field(default={"": ""}, min_length=1)
    """Beginning of a tensor's name there -> what stands in its place here, such as
    `{"encoder.": "body.encoder."}`; an empty one means every tensor. The longest that
    fits is used."""
    strict: bool = True
    """Refuse to start where a tensor that a prefix names has no place here or another shape, or
    where one here under a prefix stays fresh. Otherwise such tensors stay fresh."""


StartConfig = Annotated[InputsStart | PrefixesStart, Field(discriminator="kind")]
"""Any start, distinguished by its `kind`."""
