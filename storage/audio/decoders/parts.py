"""A recording of several parts, or of a damaged one -> one sound, in the form of most of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from storage.audio.decoders.files import SOUNDFILE, Stream, blocks, opened_quietly, shape_of
from storage.audio.decoders.packets import FFMPEG, Probe, Tally, packet_blocks, probe
from storage.audio.decoders.pour import Attempt, Converter, Pour, Shape
from storage.audio.decoding import Begin, Form, Length, Source, Taker
from storage.audio.walks.chunks import SLACK_BYTES
from storage.audio.walks.parts import Extract, Packets, Part, Survey, Window


@dataclass(frozen=True)
class _Known:
    """A part, and what is known of its sound."""

    part: Part
    shape: Shape
    seconds: float
    probe: Probe | None = None


def by_parts(source: Source, begin: Begin[Taker], survey: Survey) -> Attempt[Taker] | None:
    """Decode every part, silence for what was lost in it; None where none of them decodes."""
    known = [each for part in survey.parts if (each := _learn(source.path, part))]
    if not known:
        return None
    lengths: Counter[Shape] = Counter()
    for each in known:
        lengths[each.shape] += round(1000 * each.seconds) + 1
    ((wanted, _),) = lengths.most_common(1)
    decoder = SOUNDFILE if isinstance(known[0].part, Extract) else FFMPEG
    pour = Pour(source, begin, Form(*wanted, decoder))
    poured = _Parts(pour, source.path, wanted)
    for each in known:
        poured.take(each)
    pour.errors = poured.tally.errors
    promised = poured.promised
    if len(lengths) > 1 and survey.promised.certainty == "exact":
        # Parts of several rates count in different frames.
        promised = pour.frames + poured.missing
    elif survey.promised.frames and known[0].probe:
        promised = survey.promised.frames * _ratio(known[0].shape, wanted) * known[0].probe.scale
    certainty = survey.promised.certainty
    length = Length(round(promised), certainty) if certainty != "unknown" else Length()
    return pour.attempt(length, round(poured.missing), survey.stray_bytes)


def _ratio(own: Shape, wanted: Shape) -> float:
    return wanted.sample_rate / own.sample_rate


class _Parts(Generic[Taker]):
    """Pours one part after the other."""

    def __init__(self, pour: Pour[Taker], path: Path, wanted: Shape) -> None:
        self._pour, self._path, self._wanted = pour, path, wanted
        self.tally = Tally()
        self.missing = 0.0
        self.promised = 0.0
        """Frames that headers of bytes add up to."""

    def take(self, known: _Known) -> None:
        """Decode a part to its end."""
        converter = Converter(known.shape, self._wanted)
        ratio = _ratio(known.shape, self._wanted)
        if isinstance(known.part, Packets):
            assert known.probe
            for event in packet_blocks(known.part, known.probe, self.tally):
                if isinstance(event, int):
                    self._pour.take(converter.rest())
                    converter = Converter(known.shape, self._wanted)
                    self._pour.fill(round(event * ratio))
                else:
                    self._pour.take(converter.take(event))
            lost = known.part.lost * known.probe.scale * ratio
        else:
            came = 0
            with _window(self._path, known.part) as stream:
                for block in blocks(stream) if stream else ():
                    came += block.shape[1]
                    self._pour.take(converter.take(block).copy())
            stated = _stated_frames(known.part, came)
            self.promised += stated * ratio
            short = (known.part.claimed or 0) - known.part.there
            lost = (stated - came) * ratio if came and short > SLACK_BYTES else 0.0
        self._pour.take(converter.rest())
        self.missing += lost


def _stated_frames(part: Extract, came: int) -> float:
    """Return the frames that the header's bytes are, by those that came of the bytes there are."""
    claimed, there = part.claimed or 0, part.there
    usual = there // came if came else 0
    if usual and there // usual == came:
        # Plain samples: what is left of a frame that was cut is none.
        return claimed // usual
    return came * claimed / there if there else 0.0


def _learn(path: Path, part: Part) -> _Known | None:
    if isinstance(part, Packets):
        found = probe(part)
        if found is None:
            return None
        return _Known(part, found.shape, part.frames * found.scale / found.shape.sample_rate, found)
    with _window(path, part) as stream:
        if stream is None:
            return None
        shape = shape_of(stream)
        return _Known(part, shape, stream.frames / shape.sample_rate)


@contextmanager
def _window(path: Path, part: Extract) -> Iterator[Stream | None]:
    with Window(path, part) as window, opened_quietly(window) as stream:
        yield stream
