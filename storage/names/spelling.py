"""Names as they are found -> text: what is printed, stored and compared.

A file's name is bytes. Python holds those that are no UTF-8 as lone surrogates (PEP 383), which can
be neither printed nor sent nor written as JSON.
"""

import os
import re
import unicodedata
from pathlib import Path

ESCAPED = "./"
"""Begins a stored path in which some bytes are escaped; no other stored path begins so."""
ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def printable(name: object) -> str:
    r"""Return a name or path for messages: each byte that cannot be printed reads like `\xe9`."""
    return "".join(map(_shown, str(name)))


def is_text(name: object) -> bool:
    """Say whether a name or path is UTF-8, so that it can be recorded and sent as it is."""
    return not any("\ud800" <= one <= "\udfff" for one in str(name))


def stored_path(path: str) -> str:
    r"""Return a relative path as text that any format can hold, and that `found_path` reverses.

    A printable path is stored as it is. In any other, the bytes that cannot be printed, and
    backslashes, read like `\xe9`, and it begins with `ESCAPED`.
    """
    return path if path.isprintable() else ESCAPED + printable(path.replace("\\", r"\x5c"))


def found_path(stored: str) -> str:
    """Return the path that `stored_path` stored."""
    if not stored.startswith(ESCAPED):
        return stored
    escaped = stored.removeprefix(ESCAPED).encode()
    return os.fsdecode(ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), escaped))


def library_path(path: Path) -> str | bytes:
    """Return a path as soundfile takes it: it encodes text strictly, and bytes not at all."""
    text = str(path)
    return text if text.isprintable() else os.fsencode(path)


def composed(name: str) -> str:
    """Return a name in the form of Unicode that most systems write (NFC); macOS writes another."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return what is the same for names that some disk takes for one: whatever case and form.

    It is the canonical caseless form of the Unicode Standard (section 3.13, definition 145),
    composed again.
    """
    return composed(unicodedata.normalize("NFD", name).casefold())


def _shown(one: str) -> str:
    if one.isprintable():
        return one
    try:
        data = os.fsencode(one)
    except UnicodeEncodeError:
        # No name of a file: half of a pair of surrogates, from a table or an archive.
        data = one.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data)
