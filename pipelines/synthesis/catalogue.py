"""Invented artists, titles and licences, and who belongs to which split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from numpy.random import Generator

FIRST = (
    "Alma", "Bruno", "Carla", "Dario", "Edda", "Fabrice", "Greta", "Hugo", "Ines", "Jonas",
    "Kaya", "Lorenz", "Mirela", "Nils", "Odette", "Pavel", "Rosalie", "Sanna", "Tomas", "Yara",
)  # fmt: skip
LAST = (
    "Abelard", "Brandvold", "Castellan", "Dunmore", "Eskola", "Ferreira", "Grimaldi", "Holm",
    "Ivanek", "Juhl", "Kestrel", "Lindqvist", "Marchetti", "Noordam", "Okafor", "Petrescu",
    "Quist", "Rasmus", "Sorel", "Tanaka", "Vance", "Wexley",
)  # fmt: skip
NOUNS = (
    "Anchors", "Bridges", "Candles", "Dunes", "Engines", "Foxes", "Gardens", "Harbours",
    "Islands", "Junipers", "Kites", "Lanterns", "Meadows", "Northerners", "Orchards",
    "Pylons", "Rivers", "Sparrows", "Tides", "Umbrellas", "Wolves",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Borrowed", "Crooked", "Distant", "Electric", "Faded", "Gentle", "Hollow",
    "Idle", "Jagged", "Late", "Midnight", "Northern", "Open", "Paper", "Quiet", "Restless",
    "Silver", "Tangled", "Velvet", "Wandering", "Yellow",
)  # fmt: skip
LICENCES = (
    "Attribution 4.0", "Attribution-ShareAlike 4.0", "Attribution-NonCommercial 4.0",
    "Attribution-NonCommercial-ShareAlike 3.0 International",
    "Attribution-NonCommercial-NoDerivatives 4.0",
)  # fmt: skip
MOST_TRACKS = 3
VALIDATION_SHARE = 8
"""One track in so many is for validation."""


@dataclass(frozen=True)
class Credit:
    """What a catalogue says of one track: who, which split, under which licence, its name."""

    artist: str
    split: str
    licence: str
    title: str
    band: int
    """Number of the artist: an artist keeps to one style."""


def draw_credits(count: int, rng: Generator) -> tuple[Credit, ...]:
    """Draw credits for `count` tracks: no artist in two splits, about one track in eight held out.

    From two tracks on, both splits have at least one.
    """
    sizes: list[int] = []
    most = max(1, min(MOST_TRACKS, count // 4))
    while (left := count - sum(sizes)) > 0:
        sizes.append(min(left, int(rng.integers(1, most + 1))))
    goal = max(1, round(count / VALIDATION_SHARE)) if count > 1 else 0
    artists, titles = artist_names(rng), song_titles(rng)
    credit: list[Credit] = []
    held_out = 0
    for band, size in enumerate(sizes):
        # An even spread over the list, so that held-out tracks are of every style and size.
        due = held_out < goal * sum(sizes[: band + 1]) / count and band > 0
        held_out += size if due else 0
        artist = next(artists)
        split = "validation" if due else "training"
        licence = str(rng.choice(LICENCES))
        credit += [Credit(artist, split, licence, next(titles), band) for _ in range(size)]
    return tuple(credit)


def artist_names(rng: Generator) -> Iterator[str]:
    """Yield names of artists, none twice."""
    return _unlike(_artist, rng)


def song_titles(rng: Generator) -> Iterator[str]:
    """Yield titles of songs, none twice."""
    return _unlike(_title, rng)


def _unlike(draw: Callable[[Generator], str], rng: Generator) -> Iterator[str]:
    """Yield what `draw` gives; what it gives again is numbered instead of drawn without end."""
    times: dict[str, int] = {}
    while True:
        name = draw(rng)
        times[name] = times.get(name, 0) + 1
        yield name if times[name] == 1 else f"{name} No. {times[name]}"


def _artist(rng: Generator) -> str:
    first, last, noun = (str(rng.choice(words)) for words in (FIRST, LAST, NOUNS))
    forms = (
        f"{first} {last}",
        f"The {rng.choice(ADJECTIVES)} {noun}",
        f"{first} & The {noun}",
        f"{last}'s {noun}",
    )
    return forms[int(rng.integers(len(forms)))]


def _title(rng: Generator) -> str:
    adjective, noun = str(rng.choice(ADJECTIVES)), str(rng.choice(NOUNS))
    forms = (
        f"{adjective} {noun}",
        f"{noun} & {rng.choice(NOUNS)}",
        f"{rng.choice(FIRST)}'s {noun}",
        f"Don't Wake The {noun}",
        f"{noun} In {adjective} Light",
        f"A Letter To {rng.choice(FIRST)}",
        f"The {adjective} Hour",
        f"{adjective} As {noun}",
    )
    return forms[int(rng.integers(len(forms)))]
