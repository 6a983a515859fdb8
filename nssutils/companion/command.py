"""The `nss` command's first word: what needs no torch is answered at once, all else is runner's."""

import os
import sys

from nssutils.companion import listed
from nssutils.errors import near_miss

WORDS = {
    "slice": "slice a network of your own: what is left of it, and the smaller network in a file",
    "run": "execute a chapter (nss run CHAPTER --help: its parameters)",
    "list": "what the store of results holds, stale results apart, and what is missing",
    "status": "how far a preset is: cells done, running and left, and the hours that these may take",
    "claims": "what becomes of the paper's claims: how many have which verdict, by the results at hand",
    "fill": "compute what the store lacks at a preset, the most informative first; stop when time is up",
    "sweep": "compute a chapter's study over a grid: -p seed=0..9 -p samples=64,256; what is computed is kept",
    "seal": "give results that were written before there were digests theirs, after checking them",
    "certify": "record what the present code computes at preset smoke, so that results of code that does so hold",
    "publish": "copy this machine's results of a chapter to data/results",
    "pdf": "print the pages of the built book, a PDF each, by headless Chromium",
    "crate": "write an RO-Crate: which code made which published result of which data, and which table of them",
    "book": "execute every chapter, one after another, and build the book",
    "train": "a step of the workflow: train a setting's network",
    "page": "a step of the workflow: execute a chapter for the book",
    "pages": "a step of the workflow: build the pages of the executed chapters",
}
NEXT = """nss runs the chapters of the NeuSemSlice companion. What next?

  make book                       the book at preset smoke, from nothing, in minutes
  nss claims                      what became of the paper's claims
  nss run pilot_global --help     what one chapter can be asked
  nss slice --help                slice a network of your own
  nss --help                      every command"""


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, 1 where something failed, 2 where the command was wrong, 130 where it was stopped by Ctrl-C, 141
    where nobody reads on."""
    try:
        code = _answered(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:  # before runner has come to look out for it
        return 130
    except BrokenPipeError:  # who reads what is printed, as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _answered(given: list[str]) -> int:
    if not given:
        print(NEXT)
        return 0
    if given[0] in ("-h", "--help"):
        print("usage: nss COMMAND ...\n\ncommands (nss COMMAND --help says more):")
        print("\n".join(f"  {word:<9}{text}" for word, text in WORDS.items()))
        return 0
    if given[0] not in WORDS:
        known = ", ".join(WORDS)
        print(f"nss: unknown command {given[0]!r}; known: {known}.{near_miss(given[0], WORDS)}", file=sys.stderr)
        return 2
    plain = given[0] == "list" and len(given) % 2 and set(given[1::2]) <= {"--preset"}
    said = listed.again(given[2::2]) if plain else None
    if said is not None:
        print(said)
        return 0
    from nssutils.companion import runner  # torch, papermill and matplotlib: seconds

    return runner.main(given)


if __name__ == "__main__":
    sys.exit(main())
