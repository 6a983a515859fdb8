"""What a long study has found so far, kept part by part: a run that is cut short loses one part and not the rest."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from nssutils import data, digests, files
from nssutils.settings import Setting


def key(net: nn.Module, setting: Setting, seed: int, loaded: data.Data, **asked) -> list:
    """What all parts of a study depend on besides its code: the trained network, the data, what was asked for, and
    where it is computed."""
    where = [next(net.parameters()).device.type, digests.processor(), torch.__version__, torch.get_num_threads()]
    return [digests.of_tensors(net.state_dict().values()), asdict(setting), seed, loaded.sha256, asked, *where]


def kept(study: str, key: list, compute: Callable[[], dict]) -> dict:
    """What `compute` gives, tables of plain rows, from the cache where it has been computed before.

    study: the definition that computes, as "studies.rq1.measure", whose code is part of the key; key: all else that the
    part depends on, as JSON.
    """
    name = digests.of([study, digests.code(study), key])[:32]
    file = data.CACHE / "parts" / f"{name}.json"
    found = _read(file)
    if found is None:
        found = compute()
        with files.atomically(file) as partial:
            partial.write_text(json.dumps({"found": found, "sha256": digests.of([name, found])}))
    return json.loads(json.dumps(found))  # as it comes from the file, so that the first time is as the second


def add(tables: dict[str, list[dict]], study: str, key: list, compute: Callable[[], dict]) -> None:
    """Append the rows of `kept` to the tables of their names."""
    for name, rows in kept(study, key, compute).items():
        tables.setdefault(name, []).extend(rows)


def _read(file: Path) -> dict | None:
    """What a file of the cache has; None where there is none. What is damaged or another's is set aside."""
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        files.set_aside(file, f"cannot be read ({error})")
        return None
    if isinstance(content, dict) and content.keys() == {"found", "sha256"}:
        if digests.of([file.stem, content["found"]]) == content["sha256"]:
            return content["found"]
    files.set_aside(file, "is not what was written under its name")
    return None
