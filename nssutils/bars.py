"""A progress bar for what takes longer than two seconds, on a terminal or in a notebook; NSS_BARS=0 turns all off."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

DELAY = 2  # seconds before a bar shows

Item = TypeVar("Item")


def over(
    work: Iterable[Item], what: str, total: int | None = None, count: Callable[[Item], int] | None = None
) -> Iterator[Item]:
    """The items of `work`, with a bar named `what` on stderr; it goes when all is done.

    total: what all items add up to, if that is known; count: what one of them adds, 1 unless given. What a loop
    computes is the same without this call, so the digests of code pass it over (`digests`).
    """
    if not shown():
        yield from work
        return
    total = len(work) if total is None and hasattr(work, "__len__") else total
    with tqdm(desc=what, total=total, delay=DELAY, leave=False, file=sys.stderr) as bar:
        for item in work:
            yield item
            bar.update(count(item) if count else 1)


def shown() -> bool:
    """Whether bars show: as NSS_BARS says, 0 or 1; where it says nothing, on a terminal and in a notebook."""
    said = os.environ.get("NSS_BARS", "")
    return said == "1" if said in ("0", "1") else sys.stderr.isatty() or "ipykernel" in sys.modules
