"""Every chapter at smoke as if this machine had a GPU, against the same without: `make gpu-test` (CHAPTERS="rq1 ...").

Nothing may be left on the other device, and the tables must be the same, times left out. Where a setting computes in
bf16, which a processor does in its own way, or has attention, which torch then does step by step, tables may differ.
"""

import argparse
import sys
import tempfile
import traceback
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from elsewhere import THERE, elsewhere

from nssutils import data, settings, training
from nssutils.companion import certify, workflow
from nssutils.studies import STUDIES


def measured(job: workflow.Job) -> str:
    """The fingerprint of a cell, computed anew."""
    setting = settings.get(job.setting, "smoke")
    tables = STUDIES[job.chapter](setting, job.seed, data.load(setting))
    return certify.fingerprint([SimpleNamespace(setting=job.setting, seed=job.seed, tables=tables)])


def compared(job: workflow.Job) -> str:
    """What becomes of a cell on a GPU: "same", "other" where it may be, or what is wrong."""
    here = measured(job)
    try:
        with patch.object(training, "device", lambda: THERE), elsewhere():
            there = measured(job)
    except Exception:
        return traceback.format_exc(limit=-8)
    setting = settings.get(job.setting, "smoke")
    may_differ = setting.reduced or setting.reduced_evaluation or setting.model == "vit"
    return "same" if here == there else "other" if may_differ else "differs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="chapters, or beginnings of chapter:setting; all unless given")
    chosen = tuple(parser.parse_args().chapters)
    ran, bad = 0, []
    with tempfile.TemporaryDirectory() as place, patch.object(data, "CACHE", Path(place)):
        for job in workflow.jobs("smoke"):
            name = f"{job.chapter}:{job.setting}"
            if chosen and not name.startswith(chosen):
                continue
            found, ran = compared(job), ran + 1
            print(f"{name}: {found}", flush=True)
            if found not in ("same", "other"):
                bad.append(name)
    print(f"{len(bad)} of {ran} wrong{': ' if bad else ''}{', '.join(bad)}")
    return bool(bad) or not ran  # a name that begins none would pass


if __name__ == "__main__":
    sys.exit(main())
