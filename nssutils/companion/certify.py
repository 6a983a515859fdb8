"""What the present code computes at preset smoke, recorded, so that what is measured outlives a refactoring."""

import sys
from collections.abc import Iterable
from dataclasses import asdict

from nssutils import data, digests, settings, training
from nssutils.companion import results, store, workflow
from nssutils.studies import STUDIES


def certify() -> list[str]:
    """Record the fingerprints of training and of every study on this kind of processor; returns a line on each.

    What the cache holds of preset smoke is used where exactly the present code made it; the rest is computed.
    """
    lines = [_recorded("networks", training.code(), _networks(), settings.NAMES)]
    for chapter in STUDIES:
        cells = [job for job in workflow.jobs("smoke") if job.chapter == chapter]
        found = fingerprint(_strict(job) for job in cells)
        lines.append(_recorded(chapter, store.code(chapter), found, [job.setting for job in cells]))
    return lines


def fingerprint(found: Iterable[results.Result]) -> str:
    """The digest of what results say, times left out."""
    return digests.of(
        [
            [result.setting, result.seed]
            + [
                [table, [{key: row[key] for key in row if not key.startswith("seconds")} for row in rows]]
                for table, rows in sorted(result.tables.items())
            ]
            for result in found
        ]
    )


def _networks() -> str:
    """The digest of the six smoke networks' weights, trained by the present code."""
    weights = []
    for name in settings.NAMES:
        setting = settings.get(name, "smoke")
        loaded = data.load(setting)
        if training.origin(setting, 0, loaded).get("code") != training.code():
            training.forget(setting, 0, loaded)
        weights.append(digests.of_tensors(training.trained(setting, 0, loaded).state_dict().values()))
    return digests.of(weights)


def _strict(job: workflow.Job) -> results.Result:
    """A cell measured by the present code itself, not by one that is certified to equal it."""
    found = results.find(job.chapter, job.preset, job.setting, job.seed)
    stands = found and store.holds(found, settings.get(job.setting, job.preset)) == "code"
    return store.fill(job.chapter, job.preset, job.setting, job.seed, recompute=not stands)[0]


def _recorded(what: str, code: str, print_: str, names: Iterable[str]) -> str:
    news = digests.certify(what, code, print_, digests.of([asdict(settings.get(name, "smoke")) for name in names]))
    same = {each["code"] for each in digests.certificates()[what] if each["fingerprint"] == print_} - {code}
    print(f"certified: {what}", file=sys.stderr, flush=True)
    like = f"the same as that of {', '.join(sorted(each[:8] for each in same))}" if same else "no earlier code's"
    return f"{what}: code {code[:8]}, fingerprint {print_[:8]}{'' if news else ' (known)'}: {like}"
