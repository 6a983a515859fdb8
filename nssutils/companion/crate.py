"""The published results as a Process Run RO-Crate: which code made which file of which data, and which table of it.

A result is an action: its chapter's study, known by the digest of its code, was run on a dataset, known by its
checksum. A table or figure of the built book is one, too: this package made it of results.
(https://w3id.org/ro/wfrun/process/0.5)
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from nssutils import files
from nssutils.companion import results
from nssutils.companion.edition import text
from nssutils.errors import NssError

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
SHA256 = "https://w3id.org/ro/terms/workflow-run#sha256"
LICENSE = "https://spdx.org/licenses/MIT"
KINDS = {".csv": "text/csv", ".svg": "image/svg+xml", ".json": "application/json"}


def write(out: Path, shown: Path) -> Path:
    """Write the crate into a folder that is not there yet; returns its metadata file.

    shown: the folder of the built book's fragments; without it the crate has the results alone. Raises NssError where
    `out` exists, ResultError for a damaged result.
    """
    if out.exists():
        raise NssError(f"{out} exists, expected a folder to be made: give another, or remove it.")
    crate = ROCrate(version="1.1")  # which the profile is of
    crate.metadata.extra_terms["sha256"] = SHA256  # which the context of RO-Crate 1.1 does not know
    crate.name = "The NeuSemSlice companion: published results"
    crate.description = "What the companion measured, one file for each chapter, preset, setting and seed."
    crate.license = crate.add(ContextEntity(crate, LICENSE, {"@type": "CreativeWork", "name": "MIT License"}))
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["author"] = crate.root_dataset["publisher"] = _authors(crate)
    crate.root_dataset["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, profile))
    found = {file: results.read(file) for file in sorted(results.PUBLISHED.rglob("seed*.json"))}
    if not found:
        raise NssError(f"{results.PUBLISHED} has no result, expected some: `nss publish CHAPTER --preset PRESET`.")
    crate.root_dataset["datePublished"] = max(one.provenance["created"] for one in found.values())
    actions = [_measured(crate, file, one) for file, one in found.items()]
    actions += _shown(crate, shown, {_name(file) for file in found})
    crate.root_dataset["mentions"] = actions
    crate.write(out)
    return out / "ro-crate-metadata.json"


def _authors(crate: ROCrate) -> ContextEntity:
    return _once(crate, "#authors", "Organization", name="The NeuSemSlice companion's authors")


def _measured(crate: ROCrate, file: Path, one: results.Result) -> ContextEntity:
    """The action that made a result."""
    origin = one.provenance
    name = f"{one.chapter}, {one.setting}, preset {one.preset}, seed {one.seed}"
    study = _once(
        crate, f"#code-{origin['code_sha256']}", "SoftwareApplication",
        name=f"nssutils, the study of {one.chapter}", version=origin["code_sha256"],
        softwareRequirements=", ".join(f"{library} {version}" for library, version in origin["versions"].items()),
    )  # fmt: skip
    data = _once(
        crate, f"#data-{origin['data_sha256']}", "CreativeWork",
        name=f"dataset {origin['setting']['dataset']}", sha256=origin["data_sha256"],
    )  # fmt: skip
    values = {"preset": one.preset, "setting": one.setting, "seed": one.seed, "device": origin["device"]} | one.readings
    given = [
        _once(crate, f"#{key}-{str(value).replace(' ', '-')}", "PropertyValue", name=key, value=str(value))
        for key, value in values.items()
    ]
    return _once(
        crate, f"#run-{_name(file)}", "CreateAction", name=f"Measuring {name}", instrument=study,
        object=[data, *given], result=_file(crate, file, _name(file), f"Result: {name}"), endTime=origin["created"],
        agent=_authors(crate),
        description=f"nss run {one.chapter} -p preset={one.preset} -p setting={one.setting} -p seed={one.seed}",
    )  # fmt: skip


def _shown(crate: ROCrate, folder: Path, published: set[str]) -> list[ContextEntity]:
    """The actions that made the built book's tables and figures of published results alone."""
    actions = []
    for origins in sorted(folder.glob("*.origins.json")):
        label = origins.name.removesuffix(".origins.json")
        made_of = json.loads(origins.read_bytes())
        if not made_of or not published.issuperset(made_of):
            continue
        maker = _once(crate, "#nssutils", "SoftwareApplication", name="nssutils", version=text().split()[1].strip(","))
        made = [folder / f"{label}{suffix}" for suffix in KINDS if (folder / f"{label}{suffix}").exists()]
        actions.append(
            _once(
                crate,
                f"#shown-{label}",
                "CreateAction",
                name=f"Making {label} of the book",
                description="make book PRESET=published",
                instrument=maker,
                agent=_authors(crate),
                object=_one([crate.dereference(name) for name in made_of]),
                result=_one([_file(crate, file, f"book/{file.name}", f"The book's {label}") for file in made]),
                endTime=datetime.fromtimestamp(max(file.stat().st_mtime for file in made), UTC).isoformat(
                    "T", "seconds"
                ),
            )
        )
    return actions


def _file(crate: ROCrate, file: Path, name: str, title: str):
    content = file.read_bytes()
    told = {"name": title, "encodingFormat": KINDS[file.suffix], "contentSize": str(len(content))}
    return crate.add_file(file, name, properties=told | {"sha256": hashlib.sha256(content).hexdigest()})


def _one(several: list):
    """What stands alone, by itself: the form that RO-Crate recommends."""
    return several[0] if len(several) == 1 else several


def _once(crate: ROCrate, identifier: str, kind: str, **said) -> ContextEntity:
    """The entity with that identifier, made where it is not there yet."""
    known = crate.dereference(identifier)
    if known is None:
        known = crate.add(ContextEntity(crate, identifier, {"@type": kind}))
        for key, value in said.items():
            known[key] = value
    return known


def _name(file: Path) -> str:
    return file.relative_to(files.ROOT).as_posix()
