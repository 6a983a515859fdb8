"""What the store of results lacks, in which order to compute it, and the stamps that tell Snakemake what is done.

A stamp's date means nothing: before Snakemake looks, `sync` makes the stamps agree with the store, where a result
counts as done while its setting, code, dataset and lock are the present ones (store.holds).
"""

import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nssutils import data, digests, files, settings, training
from nssutils.companion import chapters, checksums, edition, locks, pages, results, store
from nssutils.errors import NssError
from nssutils.studies import STUDIES

BUILD = files.ROOT / "build"
STAMPS = BUILD / "jobs"
# Settings by what is worth knowing first where time is short; within one, chapters in the book's order.
FIRST = (
    "vgg16-cifar10",
    "alexnet-cifar10",
    "resnet101-cifar10",
    "vgg19-imagenet10",
    "mlp-mnist",
    "mlp-fmnist",
    "resnet10-cifar10",
    "lenet-mnist",
    "resnet14-cifar10",
    "resnet44-cifar10",
    "resnet86-cifar10",
    "resnet110-cifar10",
    "resnet18-cifar10",
    "vit-cifar10",
)


class TimeIsUp(NssError):
    """The time limit was reached; what is complete is stored."""


@dataclass(frozen=True)
class Job:
    """One cell of the store."""

    chapter: str
    preset: str
    setting: str
    seed: int
    readings: tuple[tuple[str, results.Scalar], ...] = ()  # those that are not the chapter's defaults

    @property
    def stamp(self) -> Path:
        file = results.path(Path(), *self.cell)
        return STAMPS / self.preset / self.chapter / self.setting / file.stem

    @property
    def cell(self) -> tuple:
        """What the store calls it."""
        return self.chapter, self.preset, self.setting, self.seed, dict(self.readings)

    @property
    def networks(self) -> set[int]:
        """The seeds of the networks that it is measured on."""
        return store.networks(self.chapter, settings.get(self.setting, self.preset), self.seed)

    def __str__(self) -> str:
        more = "".join(f", {name}={value}" for name, value in self.readings)
        return f"{self.chapter}, {self.setting}, preset {self.preset}, seed {self.seed}{more}"


def jobs(preset: str, folder: Path = chapters.BOOK) -> list[Job]:
    """Every cell of the store at a preset: each chapter's own settings, each of their seeds. None at "published"."""
    if preset == "published":
        return []
    found = []
    for chapter in (each for each in pages.chapters(folder) if each in STUDIES):
        chosen = chapters.parameters(chapters.find(chapter, folder))["setting"].default
        for name in store.listed(chosen, settings.NAMES):
            found += [Job(chapter, preset, name, seed) for seed in settings.get(name, preset).seeds]
    return found


def state(job: Job, checksum: Callable | None = None) -> str:
    """A cell's state (store.seen). checksum: of a setting's dataset; who asks for many jobs at once may give a
    checksums.of that remembers."""
    return store.seen(job.cell, checksum)[0]


def done(job: Job, checksum: Callable | None = None) -> bool:
    """Whether the store has a cell's result and it stands."""
    return state(job, checksum) in store.STANDING


def ordered(wanted: Iterable[Job]) -> list[Job]:
    """The most informative first: one seed of everything before a second one of anything, then by FIRST, so that the
    chapters of a network follow its training."""
    return sorted(wanted, key=lambda job: (job.seed, FIRST.index(job.setting), list(STUDIES).index(job.chapter)))


def compute(job: Job) -> None:
    """Measure one cell unless the store holds it."""
    store.fill(job.chapter, job.preset, job.setting, job.seed, **dict(job.readings))


def train(preset: str, name: str, seed: int) -> None:
    """Leave the network that a setting's chapters share in the checkpoints."""
    setting = settings.get(name, preset)
    loaded = data.load(setting)
    with store.training_alone(setting, {seed}, loaded):
        training.trained(setting, seed, loaded)


def fill(preset: str, limit: float = 0, setting: str | None = None) -> tuple[int, list[Job], list[Job]]:
    """Compute what the store lacks at a preset, or of one setting there, the most informative first, for at most
    `limit` seconds (0: no limit).

    Returns how many cells were computed, which are left and which of these failed: their tracebacks are printed, and
    the others are computed all the same, unless the disk is full. Only complete results are stored; a training that is
    cut short goes on from its last whole epoch in the next call. A cell that another process is computing is passed
    over, and counts as left unless that process has stored it by the end; one whose network another is training is put
    off to the end, and waits for it there.
    """
    waiting = ordered(job for job in jobs(preset) if setting in (None, job.setting) and not done(job))
    computed, failed, elsewhere, put_off = 0, [], [], set()
    try:
        with _limited(limit):
            while waiting:
                job = waiting[0]
                try:
                    network = store.network(settings.get(job.setting, preset), job.seed)
                    if locks.holder(store.claim(*job.cell)):
                        elsewhere.append(job)
                    elif job not in put_off and locks.holder(network):
                        put_off.add(job)
                        waiting.append(job)
                    elif not done(job):  # another process may have done it since
                        compute(job)
                        computed += 1
                except (TimeIsUp, files.FileError):
                    raise
                except Exception as error:  # a dataset that is not there, a GPU without memory: the rest can be done
                    print(f"{job} failed:", file=sys.stderr)
                    print(f"nss: {error}" if isinstance(error, NssError) else traceback.format_exc(), file=sys.stderr)
                    failed.append(job)
                waiting = waiting[1:]
    except TimeIsUp:
        print(f"time is up during {waiting[0]}", file=sys.stderr)
    return computed, failed + waiting + [job for job in elsewhere if not done(job)], failed


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Within the block TimeIsUp is raised after so many seconds, between two operations."""

    def stop(*_) -> None:
        raise TimeIsUp(f"{seconds:g} seconds are over.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def listing(presets: Iterable[str] = settings.PRESETS) -> str:
    """What the store holds: for every chapter and setting, at each preset, which seeds; what is stale or missing is
    named as such."""
    presets = list(presets)
    cells: dict[tuple[str, str], dict[str, dict[str, list[int]]]] = {}
    for preset in presets:
        for job in jobs(preset):
            by_preset = cells.setdefault((job.chapter, job.setting), {})
            by_preset.setdefault(preset, {}).setdefault(state(job), []).append(job.seed)
    rows = [("chapter", "setting", *presets)]
    for (chapter, setting), by_preset in cells.items():
        rows.append((chapter, setting, *(_states(by_preset[preset]) for preset in presets)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _states(seeds: dict[str, list[int]]) -> str:
    """Seeds by state as a text: "0-4", or "0, 1-2 missing"."""
    texts = []
    for what, found in seeds.items():
        # Presets number their seeds without gaps; what is missing may have some.
        whole = len(found) > 1 and found == list(range(found[0], found[-1] + 1))
        text = f"{found[0]}-{found[-1]}" if whole else " ".join(map(str, found))
        texts.append(text if what == "held" else f"{text} {what}")
    return ", ".join(texts)


def sync(preset: str) -> list[Job]:
    """Make the stamps agree with the store and with what was executed last; returns the preset's jobs.

    A chapter's stamp holds the digest of all that its page shows; a job that is not done undoes its chapter, and a
    chapter the book.
    """
    found = jobs(preset)
    undone = {job.chapter for job in mark(found)}
    keys = page_keys(preset)
    for chapter, key in keys.items():
        own = executed(chapter)
        copy = BUILD / "book" / f"{chapter}.ipynb"
        if chapter in undone or not copy.exists() or not _says(own, key):
            _undo(own)
            undone.add("the book")
    first = BUILD / "_build" / "html" / "index.html"
    if undone or not first.exists() or not _says(rendered(), _book_key(keys)):
        _undo(rendered())
    return found


def _says(file: Path, key: str) -> bool:
    return file.is_file() and file.read_bytes() == key.encode()


def _undo(file: Path) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def unstamped(chapter: str) -> None:
    """Take back that a chapter's copy and the pages are what their stamps say, before they are made anew."""
    _undo(executed(chapter))
    _undo(rendered())


@contextmanager
def alone(wanted: str) -> Iterator[None]:
    """Build the book or compute a sweep within the block, alone in this clone: two at once would undo each other's
    stamps, and mix their pages. Raises LockError where another is under way."""
    with locks.held(BUILD / ".lock", f"the workflow (wanted: {wanted})"):
        yield


def mark(found: list[Job]) -> list[Job]:
    """Make the stamps of jobs agree with the store; returns those that are not done."""
    undone, checksum = [], cache(checksums.of)  # a dataset of thousands of files is looked at once, not for every job
    for job in found:
        if done(job, checksum):
            job.stamp.parent.mkdir(parents=True, exist_ok=True)
            if not job.stamp.is_file():
                _undo(job.stamp)
            job.stamp.touch()
        else:
            _undo(job.stamp)
            undone.append(job)
    for preset in {job.preset for job in found}:
        shutil.rmtree(STAMPS / "networks" / preset, ignore_errors=True)  # asked for by undone jobs only
    return undone


def executed(chapter: str) -> Path:
    """The stamp of a chapter's executed copy, whatever the preset: there is one copy."""
    return STAMPS / "executed" / chapter


def rendered() -> Path:
    """The stamp of the pages."""
    return STAMPS / "rendered"


def stamped(stamp: Path, key: str) -> None:
    """Write a stamp, atomically."""
    with files.atomically(stamp) as partial:
        partial.write_text(key)


def page_key(preset: str, chapter: str) -> str:
    """Digest of what a chapter's page depends on."""
    return page_keys(preset)[chapter]


def page_keys(preset: str) -> dict[str, str]:
    """For every chapter the digest of what its page depends on: its notebook, the results at hand, the paper's numbers
    and claims, and the code that judges and draws them. A chapter's claims may rest on the results of others."""
    from nssutils.companion import claims  # and matplotlib with them, which no sweep needs

    published = [_shown(result) for each in STUDIES for result in results.published(each)]
    own: dict[str, list[str]] = {chapter: [] for chapter in STUDIES}
    checksum = cache(checksums.of)
    for job in jobs(preset):
        _, result = store.seen(job.cell, checksum)  # a damaged one is set aside by the job that measures it again
        own[job.chapter] += [_shown(result)] if result else []
    drawn = [f"companion.{kind}.{name}" for kind in ("claims", "figures", "tables") for name in _modules(kind)]
    drawing = digests.code("companion.fragments", "companion.claims", *drawn)
    paper = [path.read_text() for path in sorted((results.DATA / "paper").iterdir())]
    paper += [claims.measured(claim) for claim in claims.claims().values()]  # descriptions, which no digest of code has
    common, keys = digests.of([preset, published, paper, drawing]), {}
    for chapter in pages.chapters(chapters.BOOK):
        shown = own[chapter] if chapter in STUDIES else own  # a page that measures nothing shows what the others have
        keys[chapter] = digests.of([common, chapters.find(chapter).read_text(), shown])
    return keys


def _shown(result: results.Result) -> str:
    """Digest of what a page may show of a result."""
    return digests.of(result.provenance | result.tables)


def book_key(preset: str) -> str:
    """Digest of what the pages depend on: every chapter's key, the files of book/ that are no notebooks, and the code
    that builds them."""
    return _book_key(page_keys(preset))


def _book_key(keys: dict[str, str]) -> str:
    others = sorted(path for path in chapters.BOOK.rglob("*") if path.is_file() and path.suffix != ".ipynb")
    texts = [[str(path.relative_to(chapters.BOOK)), path.read_bytes().hex()] for path in others]
    texts += [[name, path.read_bytes().hex()] for name, path in pages.FROM_OUTSIDE.items()]
    described = [path.read_text() for path in sorted(digests.PACKAGE.glob("*.py"))]  # the reference has its docstrings
    builder = digests.code(*(f"companion.{name}" for name in ("pages", "directives", "reference", "edition")))
    return digests.of([list(keys.values()), texts, described, pages.CONFIG.read_text(), edition.text(), builder])


def _modules(folder: str) -> list[str]:
    return sorted(path.stem for path in Path(__file__).with_name(folder).glob("*.py") if path.stem != "__init__")
