"""Tensors in a file that vouches for itself: a digest over everything in it, and in its metadata whose it is.

A flipped bit keeps every name and shape, and a file under another's name is whole: only a digest and an identity tell.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nssutils import digests, files
from nssutils.errors import NssError

DIGEST = "sha256"


class SealError(NssError):
    """A file that is damaged, or none of ours; the message says what is wrong, its reader which file and the mend."""


def save(path: str | Path, tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> None:
    """Write tensors and what is told of them, texts by name, to a safetensors file, atomically, with their digest."""
    sealed = dict(told) | {DIGEST: _digest(tensors, told)}
    with files.atomically(path) as partial:
        try:
            save_file(dict(tensors), partial, metadata=sealed)
        except SafetensorError as error:  # its own name for an error of the disk
            raise OSError(str(error)) from error


def read(path: str | Path, unsealed: set[str] | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and what is told of them, the digest included.

    unsealed: by what a file of before there were digests is known, exactly these texts in its metadata: it is read if
    all its numbers are finite, and has no digest. Raises SealError for any other file whose digest is not that of its
    content, and where it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise SealError(f"cannot be read ({error})") from error
    if DIGEST not in told and told.keys() == unsealed:
        if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
            raise SealError(f"has values in {broken[0]} that are no finite numbers")
        return tensors, told
    content = {name: text for name, text in told.items() if name != DIGEST}
    if told.get(DIGEST) != _digest(tensors, content):
        kept = told.get(DIGEST, "none")[:8]
        raise SealError(f"has digest {kept}, expected {_digest(tensors, content)[:8]}: it is not what was written")
    return tensors, told


def _digest(tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> str:
    names = sorted(tensors)
    return digests.of([dict(told), names, digests.of_tensors(tensors[name] for name in names)])
