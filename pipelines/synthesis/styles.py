"""The styles: tempos, kits, instruments, progressions and the patterns that make each itself.

A pattern is one bar, one character per sixteenth. `.` is silence and `-` holds what sounds.
Drums: `X` accent, `x` stroke, `o` ghost. Bass: `r` root, `f` fifth, `o` octave, `t` some chord
tone, `a` a step into the next chord. Chords: `x` all tones, `u` an upstroke of the upper ones,
a digit that tone alone.
"""

from dataclasses import dataclass

KICK, RIM, SNARE, CLAP, CLOSED_HAT, OPEN_HAT = 36, 37, 38, 39, 42, 46
PEDAL_HAT, CRASH, RIDE, TAMBOURINE, SHAKER, COWBELL = 44, 49, 51, 54, 82, 56
HIGH_CONGA, LOW_CONGA, CLAVES = 63, 64, 75
TOMS = (50, 48, 47, 45, 43)

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)

Groove = dict[int, str]


@dataclass(frozen=True)
class Style:
    """How one kind of music is made. Programs are General MIDI numbers from 0."""

    genre: str
    """The archive's name of the nearest top genre."""
    tempo: tuple[int, int]
    """Beats per minute, lowest and highest."""
    scales: tuple[tuple[int, ...], ...]
    progressions: tuple[tuple[int, ...], ...]
    """Scale degrees from 0, one chord per bar."""
    kits: tuple[int, ...]
    grooves: tuple[Groove, ...]
    basses: tuple[int, ...]
    bass_lines: tuple[str, ...]
    keys: tuple[int, ...]
    """Programs that play the chords."""
    comping: tuple[str, ...]
    leads: tuple[int, ...]
    pads: tuple[int, ...] = ()
    """Programs that hold chords behind, in choruses."""
    arpeggio: str = ""
    """When set, the lead plays this in verses instead of answering the voice."""
    sevenths: bool = False
    power: bool = False
    """Chords are root, fifth and octave."""
    swing: float = 0.0
    """How late the middle of a `swing_beats` falls: 0 straight, 1/3 triplets."""
    swing_beats: float = 1.0
    beats: int = 4
    """Beats in a bar."""


ROCK = Style(
    "Rock", (112, 156), (MINOR, MIXOLYDIAN, MAJOR),
    ((0, 5, 2, 6), (0, 3, 4, 3), (0, 6, 3, 0), (0, 0, 3, 4)),
    (0, 16),
    (
        {KICK: "X.......x.x.....", SNARE: "....X.......X...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        {KICK: "X..x......x..x..", SNARE: "....X.......X..o", OPEN_HAT: "x...x...x...x..."},
        {KICK: "X.x.....X.x.....", SNARE: "....X..o....X...", RIDE: "x.x.x.x.x.x.x.x."},
    ),
    (34, 33), ("r-r-r-r-r-r-r-r-", "r--rr-r-r--rf-a-", "r-----r-r---f-a-"),
    (30, 29), ("x-x-x-x-x-x-x-x-", "x-----x---x-x---", "x--x--x-x--x--x-"),
    (29, 30, 18), (16, 18), power=True,
)  # fmt: skip

BALLAD = Style(
    "Pop", (64, 92), (MAJOR, MINOR),
    ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 2, 3, 4)),
    (0, 8),
    (
        {KICK: "X.......x.x.....", SNARE: "....x.......x...", CLOSED_HAT: "x.o.x.o.x.o.x.o."},
        {KICK: "X.....x...x.....", RIM: "....x.......x...", SHAKER: "o.x.o.x.o.x.o.x."},
    ),
    (33, 35), ("r---------r-r---", "r-------f-----a-", "r-----r-f---o---"),
    (0, 4, 1), ("x---1-2-x---1-2-", "0-1-2-1-3-1-2-1-", "x-------x---x---"),
    (40, 73, 68, 11), (48, 49, 89), sevenths=False,
)  # fmt: skip

FUNK = Style(
    "Soul-RnB", (92, 114), (DORIAN, MIXOLYDIAN),
    ((0, 0, 3, 3), (0, 0, 0, 4), (0, 3, 0, 4), (1, 4, 0, 0)),
    (0, 8),
    (
        {KICK: "X..x..x...x..x..", SNARE: "....X..o.o..X..o", CLOSED_HAT: "x.xxx.xxx.xxx.x."},
        {KICK: "X.x...x..x......", SNARE: "..o.X.o..o..X.o.", CLOSED_HAT: "xoxoxoxoxoxoxo..",
         OPEN_HAT: "..............x."},
    ),
    (36, 37, 33), ("r..r..o.r..o..a.", "r-.or..f.r.o.f.a", "r.r...o.f.r...a."),
    (7, 28, 27), ("..x..x....x.x..x", "x..u..x.u..x..u.", "....x.u.....x.u."),
    (61, 66, 62, 17), (16, 48), sevenths=True, swing=0.12, swing_beats=0.5,
)  # fmt: skip

ELECTRONIC = Style(
    "Electronic", (118, 134), (MINOR, DORIAN),
    ((0, 5, 2, 6), (0, 0, 5, 6), (0, 3, 5, 4), (5, 6, 0, 0)),
    (25, 24),
    (
        {KICK: "X...X...X...X...", CLAP: "....x.......x...", OPEN_HAT: "..x...x...x...x.",
         CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
        {KICK: "X...X...X...X..x", SNARE: "....x.......x...", CLOSED_HAT: "..x...x...x..xx.",
         COWBELL: "...x..x....x..x."},
    ),
    (38, 39, 87), ("..r-..r-..r-..r-", "r.rrr.rrr.rrr.ro", "r--r--r-r--r--o-"),
    (90, 81, 5), ("x-----x---x-----", "..x-..x-..x-..x-", "x--x--x--x--x-x-"),
    (80, 81, 84), (89, 95, 50), arpeggio="0121321201213212",
)  # fmt: skip

SWING = Style(
    "Jazz", (118, 186), (MAJOR, DORIAN),
    ((1, 4, 0, 5), (0, 5, 1, 4), (0, 3, 2, 5), (1, 4, 0, 0)),
    (32, 40),
    (
        {RIDE: "x...x.x.x...x.x.", PEDAL_HAT: "....x.......x...", KICK: "o.......o.......",
         SNARE: "......o........."},
        {RIDE: "x...x.x.x...x.x.", PEDAL_HAT: "....x.......x...", RIM: "............x...",
         KICK: "o.........o....."},
    ),
    (32,), ("r---t---t---a---", "r---t-t-f---a---"),
    (0, 26, 11), ("..x-....x-....x.", "x-....x-........", "......x-..x-...."),
    (65, 66, 56, 59), (17, 48), sevenths=True, swing=0.33,
)  # fmt: skip

BOSSA = Style(
    "International", (112, 138), (MAJOR, MINOR),
    ((0, 5, 1, 4), (0, 0, 1, 4), (0, 3, 2, 5), (3, 4, 2, 5)),
    (32, 40),
    (
        {KICK: "x..xx..xx..xx..x", RIM: "x..x..x...x..x..", CLOSED_HAT: "oxoxoxoxoxoxoxox"},
        {KICK: "x..xx..xx..xx..x", CLAVES: "..x...x.x..x..x.", SHAKER: "xoxoxoxoxoxoxoxo",
         HIGH_CONGA: "..........x.x...", LOW_CONGA: "......xx......xx"},
    ),
    (32, 35), ("r-----f-r-----f-", "r--rf--fr--rf--a"),
    (24, 0), ("0-xx--x-0--x--x-", "0--x--x-0-x--x--"),
    (73, 65, 71, 11), (48, 52), sevenths=True,
)  # fmt: skip

FOLK = Style(
    "Folk", (88, 124), (MAJOR, MIXOLYDIAN, DORIAN),
    ((0, 3, 0, 4), (0, 4, 5, 3), (0, 0, 3, 4), (5, 3, 0, 4)),
    (40, 0),
    (
        {KICK: "x.......x.......", SNARE: "....o.......o...", TAMBOURINE: "....x.......x..."},
        {KICK: "x.....o.x.......", SHAKER: "xoxoxoxoxoxoxoxo"},
    ),
    (32, 33), ("r-------f-------", "r-----r-f-----a-"),
    (25, 24, 105), ("0-2-1-3-0-2-1-3-", "x---x-u---u-x-u-", "0-u-2-u-0-u-2-u-"),
    (110, 22, 21, 74), (21, 49),
)  # fmt: skip

WALTZ = Style(
    "Folk", (96, 150), (MAJOR, MINOR),
    ((0, 3, 4, 0), (0, 5, 3, 4), (0, 0, 4, 4)),
    (40, 32),
    (
        {KICK: "x...........", SNARE: "....o...o...", PEDAL_HAT: "....x...x..."},
        {KICK: "x...........", RIDE: "x...x...x.o.", RIM: "....x...x..."},
    ),
    (32, 43), ("r-----------", "r-------f---", "r---t---a---"),
    (21, 25, 1), ("....x---x---", "0-1-2-3-2-1-", "0---u---u---"),
    (40, 68, 71, 110), (49, 19), beats=3,
)  # fmt: skip

HIP_HOP = Style(
    "Hip-Hop", (78, 98), (MINOR, DORIAN),
    ((0, 0, 5, 5), (0, 3, 0, 4), (0, 5, 3, 4)),
    (25, 24, 16),
    (
        {KICK: "X..x......x..x..", SNARE: "....X.......X...", CLOSED_HAT: "x.x.x.xxx.x.x.x."},
        {KICK: "X.....x..x......", CLAP: "....X.......X...", CLOSED_HAT: "xoxoxoxxxoxoxxxx"},
    ),
    (38, 39, 33), ("r-----.r--..r-.a", "r---------r-..o-", "r--r......r-f-.."),
    (4, 5, 11), ("x-----x-........", "x---..u-..x-....", "0-1-2-3-........"),
    (73, 88, 46), (89, 50), sevenths=True, swing=0.16, swing_beats=0.5,
)  # fmt: skip

REGGAE = Style(
    "International", (68, 88), (MAJOR, MINOR, DORIAN),
    ((0, 3, 0, 4), (0, 0, 1, 1), (0, 4, 5, 3)),
    (8, 0),
    (
        {KICK: "........X.......", RIM: "........X.......", CLOSED_HAT: "x.x.x.x.x.x.x.xo"},
        {KICK: "x...x...X...x...", SNARE: "........X......o", CLOSED_HAT: "x.xxx.x.x.xxx.x."},
    ),
    (33, 35), ("r-.r-.f-....o-f-", "..r-r-f-..r-o-a-", "r---..r-f-r-...."),
    (27, 16, 18), ("....x.......x...", "....x.x.....x.x.", "..x...x...x...x."),
    (57, 17, 22, 56), (16, 48), swing=0.1, swing_beats=0.5,
)  # fmt: skip

STYLES = (ROCK, BALLAD, FUNK, ELECTRONIC, SWING, BOSSA, FOLK, HIP_HOP, WALTZ, REGGAE)
