"""Whether results depend on OMP_NUM_THREADS, which no job may heed: `python tests/threads.py` for all of smoke."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CALL = """
import sys
from pathlib import Path
from nssutils import data
from nssutils.companion import certify, store
data.CACHE = Path(sys.argv[1])
for cell in sys.argv[2:]:
    chapter, setting = cell.split("/")
    print(cell, certify.fingerprint(store.fill(chapter, "smoke", setting, 0)))
"""


def told(cells: list[str], threads: int) -> str:
    """The fingerprints of cells, "chapter/setting", computed from nothing where so many threads are asked for."""
    with tempfile.TemporaryDirectory() as made:
        asked = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "NSS_RESULTS": f"{made}/results"}
        command = [sys.executable, "-c", CALL, f"{made}/cache", *cells]
        environment = os.environ | asked | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    from nssutils.companion import workflow

    every = [f"{job.chapter}/{job.setting}" for job in workflow.jobs("smoke")]
    one, many = (told(every, threads).splitlines() for threads in (1, 4))
    unlike = [a.split()[0] for a, b in zip(one, many, strict=True) if a != b]
    print(f"{len(one)} cells, {len(unlike)} of them depend on the number of threads: {', '.join(unlike) or 'none'}")
    sys.exit(bool(unlike))
