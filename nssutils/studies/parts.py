"""What a long study has found so far, kept part by part: a run that is cut short loses one part and not the rest."""

import json
from collections.abc import Callable

from nssutils import data, digests, files


def kept(study: str, key: list, compute: Callable[[], dict]) -> dict:
    """What `compute` gives, tables of plain rows, from the cache where it has been computed before.

    study: the definition that computes, as "studies.rq1.measure", whose code is part of the key; key: all else that the
    part depends on, as JSON.
    """
    name = digests.of([study, digests.code(study), key])[:32]
    file = data.CACHE / "parts" / f"{name}.json"
    if not file.exists():
        found = compute()
        with files.atomically(file) as partial:
            partial.write_text(json.dumps(found))
    return json.loads(file.read_text())
