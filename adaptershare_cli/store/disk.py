"""What publishing asks of the disk, with a second way where a file system does not know, or refuses, the first.

Folders go from name to name by a rename; where that is refused (another layer, a mount, a network share) they are
copied, `artefact.json` last, and then removed: so a folder without that file is never taken for whole.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from adaptershare_cli.errors import RunError
from adaptershare_cli.store.artefact import ASIDE, META, PARTIAL

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a file system says of what it does not know, or does not let this user do.
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EBADF)
UNMOVED = (*UNSUPPORTED, errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST, errno.ETXTBSY)


# ---- moving ----


def swap_in(partial: Path, final: Path) -> None:
    """Put a folder in its place; what stood there is set aside until then, and comes back if that fails."""
    aside = final.with_name(ASIDE + final.name)
    try:
        if final.exists():
            move(final, aside)
        move(partial, final)
    except BaseException:
        put_back(final)
        raise
    sync(final.parent)
    discard(aside)


def put_back(final: Path) -> None:
    """Put what was set aside back where its successor does not stand."""
    aside = final.with_name(ASIDE + final.name)
    if (aside / META).exists() and not (final / META).exists():
        discard(final)
        move(aside, final)


def recover(final: Path) -> None:
    """Put a set-aside artefact back if the rename never came, and remove what is half made. Needs the lock."""
    put_back(final)
    for prefix in (ASIDE, PARTIAL):
        discard(final.with_name(prefix + final.name))


def move(source: Path, target: Path) -> None:
    """Rename a folder, or copy and remove it; what is in the target's place counts for nothing."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno not in UNMOVED:
            raise
        discard(target)
        _copy_folder(source, target)
        discard(source)


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        elif path != source / META:
            _copy_file(path, place)
    sync_tree(target)
    if (source / META).exists():
        temporary = target / f".{META}"
        _copy_file(source / META, temporary)
        sync(temporary)
        replace_file(temporary, target / META)
    sync(target)


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with suppress(OSError):  # modes and times, as far as the file system takes them
        shutil.copystat(source, target)


def replace_file(temporary: Path, file: Path) -> None:
    """Rename a file over another; where that is refused, write it there."""
    try:
        os.replace(temporary, file)
    except OSError as error:
        if error.errno not in UNMOVED:
            raise
        _copy_file(temporary, file)
        discard(temporary)


def discard(path: Path) -> None:
    """Remove what is there, `artefact.json` first: what is left of it if that is cut short is no artefact."""
    link_or_file = path.is_symlink() or path.is_file()
    with suppress(OSError):
        (path if link_or_file else path / META).unlink()
    shutil.rmtree(path, ignore_errors=True)


# ---- making ----


def make_folder(folder: Path) -> None:
    """Make a folder and those above it so that they outlast a power failure."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def begin_folder(partial: Path) -> None:
    """Make an empty folder to build in. Raises RunError where what was left in its place cannot be removed."""
    make_folder(partial.parent)
    discard(partial)
    if os.path.lexists(partial):
        raise RunError(
            "What a process left half made cannot be removed",
            where=str(partial),
            fix="Delete it, then run the same command again.",
        )
    partial.mkdir()


def follow_umask(folder: Path) -> None:
    """Give every file the mode that the umask asks for; some libraries write files that only their owner reads."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o777 != mode:
            try:
                path.chmod(mode)
            except OSError as error:  # a file system without modes, or with its own
                if error.errno not in UNSUPPORTED:
                    raise


def sync_tree(folder: Path) -> None:
    """Have all files of a folder, and their names, on the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk, as far as the file system can promise that."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


# ---- room ----


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def free_bytes(folder: Path) -> int | None:
    """Bytes that are free where a folder is, or would be; None where the file system does not say."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


def require_space(folder: Path, needed: int) -> None:
    """Raise OSError (ENOSPC, with `needed`) where the disk of `folder` has not so many bytes free.

    What is known to be large is asked for before it is written, so that the error can say how much room it takes.
    """
    free = free_bytes(folder)
    if free is not None and free < needed:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        error.needed = needed  # type: ignore[attr-defined]
        raise error


def publish_failure(error: OSError | SafetensorError, final: Path, partial: Path) -> RunError:
    """What to say when the disk did not take an artefact; of a full one, how much room is needed."""
    # safetensors reports what the system says in words only.
    found = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, SafetensorError) else None
    number = int(found[1]) if found else getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)
    failure = RunError(f"Could not publish {final.parent.name}/{final.name}: {reason}",
                       where=str(getattr(error, "filename", None) or final))  # fmt: skip
    if number in FULL:
        needed, free = getattr(error, "needed", 0) or folder_bytes(partial), free_bytes(final.parent)
        there = "" if free is None else f", {free:,} are free"
        failure.where = f"{failure.where}: at least {needed:,} bytes are needed{there}"
        failure.fix = "Make room, then run the same command again: what was made is kept."
    return failure
