"""The record of what made what: an RO-Crate of the published results, and the manifest for a codechecker."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from nssutils import files
from nssutils.companion import crate, fragments, results
from nssutils.errors import NssError

BOOK = files.ROOT / "book"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A crate of the published results and of one made-up table of two of them, one of which is of this machine."""
    folder = tmp_path_factory.mktemp("record")
    shown = folder / "shown"
    shown.mkdir()
    made_of = {
        "table-9": ["data/results/explorer/paper/mlp-mnist/seed0.json"],
        "table-9-run": ["data/results/explorer/smoke/mlp-mnist/seed0.json"],
        "claims-counts": [],
    }
    for label, places in made_of.items():
        (shown / f"{label}.csv").write_text("a,b\n1,2\n")
        (shown / f"{label}.origins.json").write_text(json.dumps(places))
    metadata = crate.write(folder / "crate", shown)
    return metadata.parent, {one["@id"]: one for one in json.loads(metadata.read_text())["@graph"]}


def of_type(graph, kind):
    return [one for one in graph.values() if one["@type"] == kind]


def ids(value):
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_every_published_result_is_in_the_crate_with_what_made_it(written):
    folder, graph = written
    published = sorted(results.PUBLISHED.rglob("seed*.json"))
    for file in published:
        one, name = results.read(file), file.relative_to(files.ROOT).as_posix()
        told, action = graph[name], graph[f"#run-{name}"]
        assert told["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert (folder / name).read_bytes() == file.read_bytes()
        assert graph[action["instrument"]["@id"]]["version"] == one.provenance["code_sha256"]
        given = [graph[each] for each in ids(action["object"])]
        assert given[0]["sha256"] == one.provenance["data_sha256"]
        assert {"preset": one.preset, "seed": str(one.seed)}.items() <= {
            e["name"]: e.get("value") for e in given
        }.items()
        assert ids(action["result"]) == [name] and action["endTime"] == one.provenance["created"]
    assert len([one for one in of_type(graph, "CreateAction") if one["@id"].startswith("#run-")]) == len(published)


def test_a_table_leads_to_the_results_it_is_made_of(written):
    _, graph = written
    action = graph["#shown-table-9"]
    assert ids(action["object"]) == ["data/results/explorer/paper/mlp-mnist/seed0.json"]
    assert ids(action["result"]) == ["book/table-9.csv"]
    assert [name for name in graph if name.startswith("#shown-")] == ["#shown-table-9"]  # only of what is published


def test_every_key_is_a_term_of_its_context(written):
    """The context of RO-Crate 1.1 has terms of schema.org, not the digest of a file: roc-validator refuses that."""
    folder, graph = written
    url, more = json.loads((folder / "ro-crate-metadata.json").read_text())["@context"]
    assert url == "https://w3id.org/ro/crate/1.1/context" and more == {"sha256": crate.SHA256}
    assert {key for one in graph.values() for key in one if key.startswith("sha")} == {"sha256"}


def test_it_is_a_process_run_crate(written):
    """What the profile demands: it is named, actions are mentioned and whole, every reference is to an entity."""
    _, graph = written
    root = graph["./"]
    assert crate.PROFILE in ids(root["conformsTo"]) and root["license"]["@id"] in graph
    assert {"name", "description", "datePublished"} <= root.keys()
    actions = of_type(graph, "CreateAction")
    assert {one["@id"] for one in actions} == set(ids(root["mentions"]))
    for one in actions:
        assert of_type({"it": graph[one["instrument"]["@id"]]}, "SoftwareApplication")
        assert set(ids(one["object"])) | set(ids(one["result"])) <= graph.keys()


def test_a_folder_that_is_there_is_refused(tmp_path):
    with pytest.raises(NssError, match="exists, expected a folder to be made"):
        crate.write(tmp_path, tmp_path)


def test_a_table_says_what_it_is_made_of(here):
    found = results.published("explorer", ["mlp-mnist"])
    fragments.write("unused", "")
    assert fragments._made_of(found) == ["data/results/explorer/paper/mlp-mnist/seed0.json"]


def test_the_manifest_has_the_papers_tables_and_figures_that_the_chapters_make():
    manifest = yaml.safe_load((files.ROOT / "codecheck.yml").read_text())["manifest"]
    labels = [Path(each["file"]).stem for each in manifest]
    code = "".join(notebook.read_text() for notebook in BOOK.glob("*.ipynb"))
    made = {label for label in re.findall(r'\\"((?:table|fig)-\d)\\"', code)}
    assert sorted(labels) == sorted(made)
    assert {f"table-{number}" for number in range(1, 7)} == {label for label in labels if label.startswith("table")}
    assert all(each["comment"] for each in manifest)


def test_the_citation_and_the_manifest_name_the_same_paper():
    cited = yaml.safe_load((files.ROOT / "CITATION.cff").read_text())["preferred-citation"]
    checked = yaml.safe_load((files.ROOT / "codecheck.yml").read_text())["paper"]
    assert (checked["title"], checked["reference"]) == (cited["title"], cited["url"])
    assert [one["name"] for one in checked["authors"]] == [
        f"{one['given-names']} {one['family-names']}" for one in cited["authors"]
    ]
