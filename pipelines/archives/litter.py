"""What systems and network drives leave among recordings, in folders and in zips: no recording."""

LITTER = frozenset(
    (
        "__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",
        "$recycle.bin", "recycler", "system volume information", "lost+found", "thumbs.db",
        "desktop.ini", ".ds_store", ".appledouble", ".apdisk", ".spotlight-v100", ".fseventsd",
        ".temporaryitems", ".trashes",
    )
)  # fmt: skip
"""Names of files and folders, in small letters: of macOS, Synology, QNAP, Windows and ext4."""


def is_litter(name: str) -> bool:
    """Say whether a file or folder was put there by a system, not by the owner of the recordings.

    macOS keeps what other disks cannot hold of `x` in `._x`.
    """
    return name.startswith("._") or name.lower() in LITTER


def in_litter(path: str) -> bool:
    """Say whether any part of a path is litter; its parts are separated by `/`."""
    return any(is_litter(part) for part in path.split("/") if part not in ("", ".", ".."))
