"""Names of songs and stems -> names of files that stay in their folder, on any disk, each its own.

A name that every file system takes is kept. Any other is written with `_` for what cannot stay, and
with a part of the checksum of the name itself, so that distinct names remain distinct. The rules
for Windows are those of Microsoft's "Naming Files, Paths, and Namespaces".
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from storage.names.spelling import folded

LONGEST_BYTES = 200
"""In UTF-8. File systems take 255: the rest is for endings, and for what a file is called while it
is written."""
DIGITS = 12
"""Of a name's sha1, in hex, that replace what the name loses."""
MARKED = re.compile(rf".*~[0-9a-f]{{{DIGITS}}}", re.S)
FORBIDDEN = frozenset('<>:"/\\|?*')
UNUSABLE = frozenset(("Cc", "Cn", "Cs", "Zl", "Zp"))
"""Categories of Unicode: control characters, unassigned, undecodable bytes, ends of lines."""
RESERVED = re.compile(r"(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.I | re.S)
"""Names of devices on Windows, whatever their ending."""
MARGINS = re.compile(r"^[\s.]+|[\s.]+$")
"""Dots and blanks at either end: the folder itself, the one above, hidden files, or dropped."""


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return what the file or folder of each name is called, for names that share one folder.

    Distinct names get distinct files, also where a disk does not distinguish capitals or the forms
    of Unicode. Endings such as `.wav` may be added.
    """
    given = list(dict.fromkeys(names))
    alike = Counter(folded(name) for name in given)
    return {
        name: name if is_file_name(name) and alike[folded(name)] == 1 else _marked(name)
        for name in given
    }


def is_file_name(name: str) -> bool:
    """Say whether a name is kept as it is, unless another one in its folder resembles it."""
    return (
        not any(map(_unusable, name))
        and 0 < len(name.encode()) <= LONGEST_BYTES
        and not MARGINS.search(name)
        and not RESERVED.fullmatch(name)
        # It could be what another name is written as.
        and not MARKED.fullmatch(folded(name))
    )


def _marked(name: str) -> str:
    digest = hashlib.sha1(name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    kept = MARGINS.sub("", "".join("_" if _unusable(one) else one for one in name))
    if RESERVED.fullmatch(kept):
        kept = f"_{kept}"
    shortened = kept.encode()[: LONGEST_BYTES - DIGITS - 1].decode("utf-8", "ignore")
    return f"{shortened or 'unnamed'}~{digest}"


def _unusable(one: str) -> bool:
    return one in FORBIDDEN or unicodedata.category(one) in UNUSABLE
