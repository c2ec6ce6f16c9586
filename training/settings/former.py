"""Settings as earlier releases spelled them: read as they were, and keyed as they were.

The first release had one kind of optimiser, schedule and data source for MixIT, and wrote them
without saying so. Homes are keyed by those names: what can be said in them still is, so that work
done then counts as done now.
"""

from typing import Any

from storage.config import Json

SCHEDULE = ("warmup_steps", "hold_steps", "decay", "decay_every")
"""Of the only schedule, beside the optimiser's settings."""
CHUNK_SECONDS, HOP_SECONDS = 12.0, 6.0
"""What chunks were when nothing was said of them."""


def lifted(values: dict[str, Any]) -> dict[str, Any]:
    """Return a training run's plain settings in today's names."""
    values = dict(values)
    optim = values.get("optim")
    if isinstance(optim, dict) and "kind" not in optim:
        old = {name: optim[name] for name in SCHEDULE if name in optim}
        values["optim"] = {
            "kind": "adamw",
            **{name: value for name, value in optim.items() if name not in old},
        }
        if old:
            values.setdefault("schedule", {"kind": "exponential", **old})
    data = values.get("data")
    if isinstance(data, dict) and data.get("kind") == "mixit":
        values["data"] = {**data, "kind": "clips"}
    return values


def keyed(matters: Json) -> Json:
    """Return what matters of a training run in the names that it had first, where it had any."""
    optim, schedule, data = matters["optim"], matters["schedule"], matters["data"]
    if data["kind"] == "clips":
        matters = {**matters, "data": {**data, "kind": "mixit"}}
    if (optim["kind"], schedule["kind"]) != ("adamw", "exponential"):
        return matters
    both = {name: value for name, value in {**optim, **schedule}.items() if name != "kind"}
    return {
        name: both if name == "optim" else value
        for name, value in matters.items()
        if name != "schedule"
    }


def keyed_chunks(matters: Json) -> Json:
    """Return what matters of a separation, keyed by what the chunks were when nothing was said.

    A model's own chunks follow from the model, by which the work is keyed too. Said in so many
    words, the same number is another thing: another model's own may differ from it.
    """
    first = {"chunk_seconds": CHUNK_SECONDS, "hop_seconds": HOP_SECONDS}
    return {
        name: value
        if name not in first
        else first[name]
        if value is None
        else f"{value:g} s"
        if value == first[name]
        else value
        for name, value in matters.items()
    }


def chunks_of_first_release(separate: Json) -> Json:
    """Return a stored separation's settings: what were the default chunks are the model's own now.

    The first release stored its defaults in so many words.
    """
    if (separate["chunk_seconds"], separate["hop_seconds"]) != (CHUNK_SECONDS, HOP_SECONDS):
        return separate
    return {**separate, "chunk_seconds": None, "hop_seconds": None}
