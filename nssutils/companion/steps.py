"""How the workflow calls its steps. Read without torch: every job on a cluster reads the Snakefile anew."""

import shlex
import sys

THREADS = 1  # training.THREADS, of every job on every machine


def command() -> str:
    """How a job of the workflow calls `nss`: quoted for the shell, with Snakemake's braces escaped, wherever a clone
    lies."""
    return f"{shlex.quote(sys.executable)} -m nssutils.companion.runner".replace("{", "{{").replace("}", "}}")
