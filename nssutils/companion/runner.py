"""The `nss` command: run one chapter with checked parameters, or all of them and build the book; publish results.

papermill executes the notebooks; what may be passed to them is checked by nssutils.companion.chapters.
"""

import argparse
import errno
import json
import os
import signal
import sys
from pathlib import Path

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from nssutils import files, settings
from nssutils.companion import (
    certify,
    chapters,
    claims,
    figures,
    listed,
    own,
    pages,
    printed,
    progress,
    ranges,
    results,
    store,
    sweep,
    workflow,
)
from nssutils.companion.chapters import BOOK, Scalar, UsageError
from nssutils.companion.command import WORDS
from nssutils.companion.workflow import BUILD
from nssutils.errors import NssError, near_miss
from nssutils.studies import STUDIES

PRESETS = (*settings.PRESETS, "published")  # published: compute nothing, show the results that come with the book
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what no program can mend
KERNELS = Config(
    KernelManager={"transport_encryption": "auto"},  # else each kernel warns of its open local port
    # and now and then of the interrupt that precedes every shutdown, where it meets a kernel still busy with its reply
    NotebookClient={"extra_arguments": ["--IPKernelApp.log_level=CRITICAL"]},
)


class RunError(NssError):
    """A chapter that stopped half way, or cells that could not be computed."""


def run(chapter: str, given: list[str], out: Path | None = None, folder: Path = BOOK) -> Path:
    """Execute a chapter with `name=value` parameters; returns the executed copy, build/runs/CHAPTER/CHAPTER.ipynb
    unless given: what goes into the book is made by the workflow alone.

    Cells run in the copy's folder, so that what they write for the page lies beside it. A copy is kept also when a cell
    fails; one cut short is not, lest it be taken for a whole one. Raises UsageError, RangeError or RunError.
    """
    notebook = chapters.find(chapter, folder)
    values = chapters.check(given, chapters.parameters(notebook))
    ranges.check(values)
    out = (out or BUILD / "runs" / chapter / notebook.name).absolute()
    with files.scratch(out.parent) as scratch:  # the book leaves it out
        partial = scratch / out.name  # papermill saves after every cell
        try:
            _execute(notebook, partial, out.parent, values)
        except (PapermillExecutionError, RuntimeError) as error:
            _placed(partial, out)
            cause = f"{error.ename}: {error.evalue}" if isinstance(error, PapermillExecutionError) else f"{error}"
            raise RunError(f"{chapter} stopped.\n{cause}\nThe executed copy is {_shown(out)}") from error
        _placed(partial, out)
    return out


def _placed(partial: Path, out: Path) -> None:
    """Move an executed copy to its place, without the paths of this machine that papermill notes in it."""
    content = json.loads(partial.read_text())
    for name in ("input_path", "output_path"):
        content["metadata"].get("papermill", {}).pop(name, None)
    with files.atomically(out) as whole:
        whole.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _execute(notebook: Path, out: Path, cwd: Path, values: dict[str, Scalar], attempts: int = 3) -> None:
    """papermill, with the cells' output on the terminal; a RuntimeError is about the kernel, never from a cell."""
    try:
        papermill.execute_notebook(
            notebook, out, values, kernel_name="python3", cwd=cwd,
            progress_bar=False, stdout_file=sys.stdout, stderr_file=sys.stderr, config=KERNELS,
        )  # fmt: skip
    except RuntimeError as error:  # on a busy machine a kernel may die or fall silent while it starts
        if attempts == 1:
            raise
        _say(f"{notebook.stem}: {error}; starting again")
        _execute(notebook, out, cwd, values, attempts - 1)


def make_book(preset: str, out: Path = BUILD, folder: Path = BOOK) -> Path:
    """Run every chapter at a preset and build the HTML; returns its first page."""
    listed = pages.chapters(folder)
    if out == BUILD:  # stamps say what the workflow made
        for chapter in listed:
            workflow.unstamped(chapter)
    for number, chapter in enumerate(listed, start=1):
        _say(f"[{number}/{len(listed)}] {chapter}, preset {preset}")
        run(chapter, [f"preset={preset}"], out / "book" / f"{chapter}.ipynb", folder)
    _say("building the pages")
    pages.copy_pages(folder, out / "book")
    return pages.render(out / "book", out)


def describe(chapter: str | None, folder: Path = BOOK) -> str:
    """A chapter's help text: its parameters with their defaults and comments. For None: which chapters there are."""
    if chapter is None:
        usage, title, rows = "CHAPTER", "chapters", [(name,) for name in chapters.known(folder)]
    else:
        known = chapters.parameters(chapters.find(chapter, folder)).values()
        usage, title = chapter, "parameters and their defaults"
        rows = [(f"{each.name}={each.default}".ljust(24), each.kind.ljust(5), each.help) for each in known]
    lines = ["  " + "  ".join(row) for row in rows]
    return "\n".join([f"nss run {usage} [-p NAME=VALUE ...] [--out FILE]", "", f"{title}:", *lines])


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run(args: argparse.Namespace, folder: Path) -> None:
    if args.help:
        print(describe(args.chapter, folder))
    elif args.chapter is None:
        raise UsageError(f"no chapter given; known: {', '.join(chapters.known(folder))}.")
    else:
        _say(f"executed: {_shown(run(args.chapter, args.parameters, args.out, folder))}")


def _book(args: argparse.Namespace, folder: Path) -> None:
    with workflow.alone(f"preset {args.preset}"):
        _say(f"the book: {_shown(make_book(args.preset, folder=folder))}")


def _publish(args: argparse.Namespace, folder: Path) -> None:
    chapters.find(args.chapter, folder)
    for path, unlike in store.publish(args.chapter, args.preset, args.replace).items():
        _say(f"{'published' if unlike is None else 'kept, published before'}: {_shown(path)}")
        if unlike:
            _say(f"  this machine's is unlike it, most in {unlike}; --replace takes this machine's")
    pictures = {"claims.svg": claims.drawn.draw_claims(claims.ledger(claims.published()))}  # the README's
    if args.chapter == "rq1_slicing":
        pictures["fig-5.svg"], _ = figures.draw_fig5(results.published("rq1_slicing"))
    for name, picture in pictures.items():
        picture.savefig(folder / "_static" / name, metadata={"Date": None}, bbox_inches="tight", transparent=False)


def _seal(args: argparse.Namespace, folder: Path) -> None:
    for place in (results.local(), results.PUBLISHED):
        _say(f"{len(results.seal(place))} results of {place} have a digest now")


def _list(args: argparse.Namespace, folder: Path) -> None:
    before = listed.state()
    text = workflow.listing(args.presets or settings.PRESETS)
    print(text)
    if "damaged" not in text:  # what is damaged is named each time
        listed.keep(args.presets or [], text, before)


def _status(args: argparse.Namespace, folder: Path) -> None:
    print(progress.status(args.presets or settings.PRESETS[1:]))  # smoke is made anew in minutes


def _claims(args: argparse.Namespace, folder: Path) -> None:
    for name, found in claims.at_hand().items():
        counts = claims.overall(claims.ledger(found))["verdict"].value_counts()
        print(f"{name}: " + ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in claims.rules.VERDICTS))


def _fill(args: argparse.Namespace, folder: Path) -> None:
    if args.job:
        chapter, setting, seed = args.job
        if chapter not in STUDIES:
            raise RunError(f"{chapter!r} measures nothing; known: {', '.join(STUDIES)}.{near_miss(chapter, STUDIES)}")
        given = [text for text in args.readings.split(",") if text]
        known = chapters.parameters(chapters.find(chapter, folder)) if given else {}
        own = {name: known[name] for name in known if name in (STUDIES[chapter].__kwdefaults__ or {})}
        store.fill(chapter, args.preset, setting, seed, **chapters.check(given, own))
        return
    done, left, failed = workflow.fill(args.preset, args.limit, args.setting)
    _say(f"{done} cells computed, {len(left)} left" + (f", the next: {left[0]}" if left else ""))
    if failed:
        raise RunError(f"{len(failed)} cells failed, see above: " + "; ".join(map(str, failed)))
    if left and args.setting:
        raise RunError(f"{len(left)} cells are left, time is up or another process has them: the same command goes on.")


def _sweep(args: argparse.Namespace, folder: Path) -> None:
    wanted = sweep.cells(args.chapter, args.parameters, folder)
    file = sweep.written(wanted)
    well = sweep.computed(file, args.jobs, args.profile)
    print(sweep.table(wanted, file.parent).to_string(index=False))
    _say(f"every table of the study, as CSV: {_shown(file.parent)}")
    if not well:
        raise RunError("some cells were not computed, see above; the same command goes on from there.")


def _slice(args: argparse.Namespace, folder: Path) -> None:
    print(own.sliced(args.network, args.data, args.metric, args.theta, args.out))
    if args.out:
        _say(f"written: {args.out}; nssutils.restructuring.load(path, net) reads it")


def _certify(args: argparse.Namespace, folder: Path) -> None:
    print("\n".join(certify.certify()))


def _pdf(args: argparse.Namespace, folder: Path) -> None:
    for file in printed.book(BUILD / "_build" / "html", args.out, folder):
        _say(f"printed: {_shown(file)}")


def _crate(args: argparse.Namespace, folder: Path) -> None:
    from nssutils.companion import crate  # its library is of the extra `book`

    _say(f"the record: {_shown(crate.write(args.out, BUILD / 'book' / '_generated'))}")


def _seconds(text: str) -> float:
    """A time as a command takes it."""
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} given, expected seconds from 0")
    return value


def _file(text: str) -> Path:
    """Where a command's file goes: refused before hours are computed for it."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, expected a file in it")
    _folder(os.path.dirname(path.absolute()))
    return path


def _folder(text: str) -> Path:
    """Where a command's files go, made later: refused before they are."""
    path = Path(text)
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be made: {there} is no folder that may be written to")
    return path


def _train(args: argparse.Namespace, folder: Path) -> None:
    ranges.check({"seed": str(args.seed)})
    workflow.train(args.preset, args.setting, args.seed)


def _page(args: argparse.Namespace, folder: Path) -> None:
    workflow.unstamped(args.chapter)  # should it fail, its copy is not taken for a whole one
    run(args.chapter, [f"preset={args.preset}"], BUILD / "book" / f"{args.chapter}.ipynb", folder)
    workflow.stamped(workflow.executed(args.chapter), workflow.page_key(args.preset, args.chapter))


def _pages(args: argparse.Namespace, folder: Path) -> None:
    pages.copy_pages(folder, BUILD / "book")
    first = pages.render(BUILD / "book", BUILD)
    workflow.stamped(workflow.rendered(), workflow.book_key(args.preset))
    _say(f"the book: {_shown(first)}")


COMMANDS = {
    "slice": _slice, "run": _run, "list": _list, "status": _status, "claims": _claims, "fill": _fill, "sweep": _sweep,
    "publish": _publish, "seal": _seal, "certify": _certify, "pdf": _pdf, "crate": _crate, "book": _book,
    "train": _train, "page": _page, "pages": _pages,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nss", description="Run the chapters of the NeuSemSlice companion.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, **more) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=WORDS[name], description=WORDS[name], **more)

    def preset(command: argparse.ArgumentParser, choices=PRESETS, **more) -> None:
        command.add_argument("--preset", choices=choices, **more)

    mine = add("slice")
    mine.add_argument("network", metavar="MODULE:FUNCTION", help="or FILE.py:FUNCTION; returns the trained network")
    mine.add_argument("--data", required=True, help="a folder of images by class, or a function: x and y, or a loader")
    mine.add_argument("--metric", default="taylor", help="avg, var, ens, deeplift or taylor, the default")
    mine.add_argument("--theta", type=float, default=0.95, help="similarity to reach in each layer and class [0.95]")
    mine.add_argument("--out", type=_file, metavar="FILE", help="where the smaller network goes, as small.safetensors")

    one = add("run", add_help=False)
    one.add_argument("chapter", nargs="?", metavar="CHAPTER")
    one.add_argument("-p", dest="parameters", metavar="NAME=VALUE", action="append", default=[])
    one.add_argument("--out", type=_file, metavar="FILE", help="where the executed copy goes")
    one.add_argument("-h", "--help", action="store_true", help="show the chapter's parameters")

    for name in ("list", "status"):
        preset(add(name), settings.PRESETS, action="append", dest="presets", help="only this one; may be repeated")

    add("claims")

    more = add("fill")
    preset(more, settings.PRESETS, required=True)
    more.add_argument("--limit", type=_seconds, default=0, metavar="SECONDS", help="0, the default: no limit")
    more.add_argument("--setting", choices=settings.KNOWN, help="only the cells of this one", metavar="SETTING")
    more.add_argument("--job", nargs=3, metavar=("CHAPTER", "SETTING", "SEED"), help="only this cell")
    more.add_argument("--readings", default="", metavar=",NAME=VALUE", help="of --job, as in the names of results")

    many = add("sweep")
    many.add_argument("chapter", metavar="CHAPTER")
    many.add_argument("-p", dest="parameters", metavar="NAME=VALUES", action="append", default=[])
    many.add_argument("--jobs", type=int, default=0, metavar="N", help="so many at a time [as the profile says]")
    profiles = sorted(each.name for each in (files.ROOT / "profiles").glob("*"))
    many.add_argument("--profile", choices=profiles, default="default", help="the machine, or a cluster [default]")

    add("seal")
    add("certify")

    out = add("publish")
    out.add_argument("chapter", metavar="CHAPTER")
    preset(out, [p for p in settings.PRESETS if p != "smoke"], required=True)
    out.add_argument("--replace", action="store_true", help="also results that are published and hold")

    add("pdf").add_argument("--out", type=_folder, default=BUILD / "pdf", metavar="FOLDER", help="[build/pdf]")
    add("crate").add_argument("out", type=_folder, metavar="FOLDER", help="which is made")

    preset(add("book"), default="smoke")

    network = add("train")
    network.add_argument("setting", choices=settings.KNOWN, metavar="SETTING")
    network.add_argument("seed", type=int, metavar="SEED")
    preset(network, settings.PRESETS, required=True)

    page = add("page")
    page.add_argument("chapter", metavar="CHAPTER")
    preset(page, required=True)
    preset(add("pages"), required=True)
    return parser


def main(argv: list[str] | None = None, folder: Path = BOOK) -> int:
    """Exit code 0, 1 where something failed, 2 where the command was wrong, 130 or 143 where it was interrupted or
    terminated."""
    args = _parser().parse_args(argv)
    # Threads that spin while they wait slow one another down wherever cores are shared with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by the kernels, which start from here
    os.environ.setdefault("NSS_BARS", "0")  # the studies have bars of their own
    os.environ["NSS_FROM"] = os.getcwd()  # a network of a reader's own is named from here, also in a chapter
    terminated = []

    def terminate(*_) -> None:
        terminated.append(True)
        raise KeyboardInterrupt  # which all libraries know to let through

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        COMMANDS[args.command](args, folder)
        return 0
    except KeyboardInterrupt:
        how = "terminated" if terminated else "interrupted"
        _say(f"\nnss: {how}; what is computed is kept, the same command goes on from there.")
        return 143 if terminated else 130
    except NssError as error:
        _say(f"nss: {error}")
        return 2 if isinstance(error, UsageError | ranges.RangeError) else 1
    except OSError as error:
        if error.errno not in DISK:
            raise
        _say(
            f"nss: {error.filename or 'a file'} cannot be written ({error.strerror}), expected a disk with room that "
            "may be written to. What is computed is kept: make room or allow writing, and give the same command again."
        )
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
