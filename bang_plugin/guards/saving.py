"""Writing checkpoint files so that nothing half-written ever bears a checkpoint's name.

fairseq itself copies ``checkpoint_last.pt`` in place, does not wait until bytes are on the disk before it renames a
file, and tries again into the same half-written file when a disk is full. These steps are replaced.
"""

import contextlib
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from fairseq.file_io import PathManager

from ..errors import BangError

logger = logging.getLogger(__name__)

UNFINISHED = ".tmp"  # as fairseq names them, so that its leftovers are removed too


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of ``path`` once all its bytes are on the disk.

    Raises:
        BangError: if they cannot be written; whatever ``path`` held before is still there.
    """
    unfinished = path + UNFINISHED
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        reason = _system_error(error)
        if reason is None:
            raise
        raise BangError(f"{path}: not saved: {reason.strerror}; the checkpoints saved before are whole") from error


def check_new(folder: Path, name: str) -> None:
    """Check that nothing would be overwritten; ``name``: of the folder, for the error.

    Raises:
        BangError: if something is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BangError(f"{name}: is there already; give a new or an empty folder")
    # another folder is going to take its place, and whoever stands in it would be lost
    if folder.resolve() == Path.cwd():
        raise BangError(f"{name}: is the current folder; give a new or an empty one")


@contextlib.contextmanager
def whole_folder(folder: Path, name: str) -> Iterator[Path]:
    """A folder to write into, which takes the place of ``folder``, new or empty, once all is written.

    Raises:
        BangError: if something is there already, or it cannot be written.
    """
    check_new(folder, name)
    folder = folder.resolve()  # of a link, what it leads to
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    except FileExistsError as error:
        raise BangError(f"{name}: {folder.parent} is no folder") from error
    except OSError as error:
        raise BangError(f"{name}: {error.strerror}") from error
    try:
        yield part
        part.chmod(0o777 & ~_umask())  # of a temporary folder's, which are for its owner alone
        os.replace(part, folder)
    except OSError as error:
        raise BangError(f"{name}: not written: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _system_error(error: BaseException | None) -> OSError | None:
    """The operating system's complaint behind an error; torch puts its own in front of it."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def guarded_save(save: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``torch_persistent_save``: the name last."""

    @functools.wraps(save)
    def torch_persistent_save(obj: Any, filename: str, async_write: bool = False) -> Any:
        if async_write or not PathManager.supports_rename(filename):
            return save(obj, filename, async_write)
        with whole_file(filename) as file:
            torch.save(obj, file)
        return None

    return torch_persistent_save


def guarded_copy(copy: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``PathManager.copy``: the name last."""

    @functools.wraps(copy)
    def guarded(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        if not (PathManager.supports_rename(src_path) and PathManager.supports_rename(dst_path)):
            return copy(src_path, dst_path, overwrite)
        with open(src_path, "rb") as source, whole_file(dst_path) as file:
            shutil.copyfileobj(source, file, 2**20)
        return dst_path

    return guarded


def guarded_folder(verify: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``verify_checkpoint_directory``, which removes what killed runs left."""

    @functools.wraps(verify)
    def verify_checkpoint_directory(save_dir: str) -> None:
        try:
            verify(save_dir)
            for leftover in Path(save_dir).glob(f"*.pt{UNFINISHED}"):
                logger.warning("%s: removed, an earlier run ended while writing it", leftover)
                leftover.unlink()
        except OSError as error:
            raise BangError(f"--save-dir {save_dir}: {error.strerror}") from error

    return verify_checkpoint_directory
