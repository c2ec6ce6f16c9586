"""The excerpts' part of the page: mixture, then each stem's reference above its estimates."""

from collections.abc import Mapping, Sequence

from training.report.markup import data_uri, details, escape, missing, paragraph, swatch
from training.report.material import Scored
from training.report.sounds import (
    FLOOR_DB,
    REFERENCE,
    Player,
    Tick,
    colour_scale,
    frequency_ticks,
    players,
    read_excerpts,
)
from training.report.tables import STEM_COLUMNS

Song = Mapping[tuple[str, str], Player]


def listening(scored: Sequence[Scored]) -> str:
    """Return spectrograms and players of the first songs; the first song stands open."""
    excerpts = read_excerpts(scored)
    if not excerpts:
        return missing("No excerpts were kept.")
    sources = [(REFERENCE, "Reference")]
    sources += [(each.key, f"{each.key} · {each.row.name}") for each in scored[:2]]
    songs: list[str] = []
    for excerpt, song in zip(excerpts, players(excerpts), strict=True):
        shown = _song(song, sources, frequency_ticks(excerpt.sample_rate))
        songs.append(details(excerpt.song, shown, is_open=not songs))
    scale = (
        f'<div class="scale"><span>{-FLOOR_DB:.0f} dB below</span>'
        f'<i style="background:{colour_scale()}"></i><span>the mixture’s peak</span></div>\n'
    )
    note = (
        "Spectrograms over a logarithmic frequency axis, power in dB. Within a song every picture "
        "has the same colour for the same level, so what leaks from one stem into another shows."
    )
    return paragraph(note, "note") + scale + "".join(songs)


def _song(song: Song, sources: Sequence[tuple[str, str]], ticks: Sequence[Tick]) -> str:
    mixture = song.get(("mixture", REFERENCE))
    whole = _picture(mixture, "Mixture", ticks) if mixture else ""
    stems = "".join(_stem(stem, song, sources, ticks) for stem in STEM_COLUMNS)
    one = next(iter(song.values()))
    kept = f"{one.seconds:.1f} s of it, 16-bit FLAC, {'mono' if one.mono else 'stereo'}."
    return (
        f'<div class="mixture"><h3>Mixture</h3>{whole}</div>\n<div class="stems">{stems}</div>\n'
        + paragraph(kept, "note")
    )


def _stem(stem: str, song: Song, sources: Sequence[tuple[str, str]], ticks: Sequence[Tick]) -> str:
    known = [
        _picture(song[stem, source], label, ticks)
        for source, label in sources
        if (stem, source) in song
    ]
    body = "".join(known) or missing("not kept")
    return f"<div><h3>{swatch(stem)}{stem.capitalize()}</h3>{body}</div>\n"


def _picture(player: Player, label: str, ticks: Sequence[Tick]) -> str:
    marks = "".join(
        f'<span style="bottom:{tick.height}%">{escape(tick.label)}</span>' for tick in ticks
    )
    return (
        f"<figure><figcaption>{escape(label)}</figcaption>"
        f'<div class="spectrogram"><img alt="Spectrogram: {escape(label)}" '
        f'src="{data_uri(player.png, "image/png")}">{marks}</div>'
        f'<audio controls preload="metadata" aria-label="{escape(label)}" '
        f'src="{data_uri(player.flac, "audio/flac")}"></audio></figure>'
    )
