"""Play parts on the sampled instruments of a General MIDI SoundFont."""

import heapq
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

# The package asks for PyAudio, but needs it only to play through a loudspeaker
# (`Synth.start`, which imports it itself): rendering into a buffer works without.
from tinysoundfont import Synth

from pipelines.synthesis.score import SAMPLE_RATE, Note, Part, Sound
from storage.errors import MachineError

GAIN_DB = -12.0
DRUM_CHANNEL = 9
DRUM_BANK = 128
BEND_SECONDS = 0.02
VIBRATO_HERTZ = 5.4
VIBRATO_DELAY = 0.15

Event = tuple[int, int, Callable[[], object]]
"""Frame, order among the events of one frame, what to do."""


@cache
def soundfont_path() -> Path:
    """Return where the General MIDI SoundFont lies.

    Raises:
        MachineError: pretty_midi, which carries it, is not installed.
    """
    # Found, not imported: the package's file is wanted, none of its code.
    spec = importlib.util.find_spec("pretty_midi")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        path = Path(folder) / "TimGM6mb.sf2"
        if path.is_file():
            return path
    raise MachineError(
        f"no SoundFont 'TimGM6mb.sf2' in {folders or 'the environment'}: "
        "install pretty_midi, which carries it"
    )


@cache
def _samples() -> bytes:
    return soundfont_path().read_bytes()


def play(parts: Sequence[Part], frames: int) -> Sound:
    """Render parts together: `(frames, 2)`, 44.1 kHz. Notes still sounding at the end are cut.

    Raises:
        MachineError: the SoundFont is missing.
    """
    buffer = memoryview(bytearray(frames * 2 * 4))
    if parts:
        # A player per call: voices left over from another song would make the bytes depend
        # on which process rendered what before. Loading takes 8 ms.
        synth = Synth(gain=GAIN_DB, samplerate=SAMPLE_RATE)
        font = synth.sfload(_samples())
        streams = [
            _events(synth, _seat(synth, font, part, number), part)
            for number, part in enumerate(parts)
        ]
        _render(synth, heapq.merge(*streams, key=lambda event: event[:2]), buffer)
    return np.frombuffer(buffer, dtype=np.float32).reshape(frames, 2)


def _seat(synth: Synth, font: int, part: Part, number: int) -> int:
    """Give a part its channel, program, place and volume; return the channel."""
    channel = DRUM_CHANNEL if part.drums else number + (number >= DRUM_CHANNEL)
    bank = DRUM_BANK if part.drums else 0
    synth.program_select(channel, font, bank, part.program, part.drums)
    synth.control_change(channel, 7, min(127, round(100 * part.volume)))
    synth.control_change(channel, 10, round(127 * part.pan))
    return channel


def _events(synth: Synth, channel: int, part: Part) -> Iterator[Event]:
    """Yield a part's events in order of time."""
    events: list[Event] = []
    for note in part.notes:
        start = max(0, round(note.start * SAMPLE_RATE))
        end = start + max(1, round(note.seconds * SAMPLE_RATE))
        on, off = _switches(synth, channel, note)
        # At one frame a key is released before it is struck again.
        events += [(end, 0, off), (start, 2, on)]
        if part.vibrato:
            events += _vibrato(synth, channel, note, part.vibrato)
    return iter(sorted(events, key=lambda event: event[:2]))


def _switches(
    synth: Synth, channel: int, note: Note
) -> tuple[Callable[[], object], Callable[[], object]]:
    def on() -> object:
        return synth.noteon(channel, note.pitch, note.velocity)

    def off() -> object:
        return synth.noteoff(channel, note.pitch)

    return on, off


def _vibrato(synth: Synth, channel: int, note: Note, semitones: float) -> Iterator[Event]:
    """Yield pitch bends that make a held note waver, after a moment of standing still."""

    def bend(wheel: int) -> Callable[[], object]:
        return lambda: synth.pitchbend(channel, wheel)

    for step in range(int(note.seconds / BEND_SECONDS)):
        time = step * BEND_SECONDS
        depth = semitones * min(1.0, max(0.0, time - VIBRATO_DELAY) / 0.3)
        # The wheel spans two semitones either way over 8192 steps.
        wheel = 8192 + round(4096 * depth * math.sin(2 * math.pi * VIBRATO_HERTZ * time))
        yield round((note.start + time) * SAMPLE_RATE), 1, bend(wheel)


def _render(synth: Synth, events: Iterator[Event], buffer: memoryview) -> None:
    """Fill the buffer with float32 stereo, running each event at its frame."""
    frames, done = len(buffer) // 8, 0
    for frame, _, act in events:
        until = min(frame, frames)
        if until > done:
            synth.generate_simple(until - done, buffer[done * 8 : until * 8])
            done = until
        if frame >= frames:
            break
        act()
    if done < frames:
        synth.generate_simple(frames - done, buffer[done * 8 :])
