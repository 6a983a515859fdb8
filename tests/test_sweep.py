"""Sweeps: which cells a grid has, what Snakemake is told of them, and the table at the end."""

from types import SimpleNamespace

import pandas as pd
import pytest
from written import ORIGIN

from nssutils import NssError
from nssutils.companion import results, runner, store, sweep, workflow
from nssutils.companion.workflow import Job


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(workflow, "BUILD", tmp_path / "build")
    monkeypatch.setattr(workflow, "STAMPS", tmp_path / "build" / "jobs")
    return tmp_path


def test_a_grid_is_every_combination_once():
    given = ["setting=mlp-mnist,lenet-mnist", "seed=0..2,7", "samples=64,256", "centred=true"]
    found = sweep.cells("rq1_slicing", given)
    assert len(found) == len(set(found)) == 2 * 4 * 2
    assert found[0] == Job("rq1_slicing", "smoke", "mlp-mnist", 0, (("samples", 64),))
    assert found[1] == Job("rq1_slicing", "smoke", "mlp-mnist", 0)  # 256 is the default
    assert {job.seed for job in found} == {0, 1, 2, 7}
    assert [job.seed for job in sweep.cells("method", ["preset=quick", "setting=mlp-mnist"])] == [0, 1, 2]
    assert sweep.read(sweep.written(found)) == found
    assert found[0].stamp.name == "seed0,samples=64" and "samples=64" in str(found[0])


@pytest.mark.parametrize(
    "given, message",
    [
        (["samples=64,-1"], "parameter 'samples': -1 given, expected 2 or more"),
        (["seed=0..99999"], "'0..99999' given, expected at most 10000 numbers"),
        (["seed=0..9999", "samples=2..3"], "20000 cells or more given, expected at most 10000"),
        (["seed=9..0"], "'9..0' given, expected the smaller number first"),
        (["seeds=1"], "unknown parameter 'seeds'.*Did you mean 'seed'"),
        (["recompute=true"], "parameter 'recompute' given, expected one of what can be swept: preset, setting, seed"),
        (["setting=mlp"], "parameter 'setting': 'mlp' given"),
        (["seed"], "'seed=' given|parameter 'seed'"),
        (["preset=published"], "expected one that computes"),
    ],
)
def test_what_is_no_grid_is_refused(given, message):
    with pytest.raises(NssError, match=message):
        sweep.cells("rq1_slicing", given)


def test_a_sweep_computes_what_is_missing_and_ends_with_a_table(place, monkeypatch, capsys):
    given = ["rq1_slicing", "-p", "setting=mlp-mnist", "-p", "seed=0..2", "-p", "samples=64,256", "--jobs", "2"]
    wanted: list[Job] = []

    def computed(file, jobs, profile):
        assert (jobs, profile) == (2, "default")
        wanted.extend(sweep.read(file))
        for job in wanted:
            rows = [{"accuracy": 0.5 + 0.1 * job.seed + len(job.readings) / 100}]
            points = [{"metric": "avg", "samples": 7}]  # a column of the study's own, named as a reading is
            results.save(results.Result(*job.cell, ORIGIN, {"base": rows, "points": points}))
        return True

    monkeypatch.setattr(sweep, "computed", computed)
    monkeypatch.setattr(store, "holds", lambda *_: "code")
    assert runner.main(["sweep", *given]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown[0] == ["preset", "setting", "samples", "accuracy", "seeds", "±"]
    assert [(row[2], row[3], row[4]) for row in shown[1:]] == [("64", "0.61", "3"), ("256", "0.60", "3")]
    (table,) = (place / "build" / "sweeps").rglob("base.csv")
    assert len(pd.read_csv(table)) == 6
    points = pd.read_csv(table.with_name("points.csv"))
    assert points["reading samples"].unique().tolist() == [64, 256] and set(points["samples"]) == {7}
    monkeypatch.setattr(store, "holds", lambda *_: "")
    assert sweep.table(wanted, place).empty  # what does not stand is none of a sweep's
    monkeypatch.setattr(store, "holds", lambda *_: "code")
    assert len(sweep.table(wanted, place)) == 2
    monkeypatch.setattr(sweep, "computed", lambda file, jobs, profile: False)
    assert runner.main(["sweep", *given]) == 1
    shown = capsys.readouterr()
    assert "0.61" in shown.out and "some cells were not computed" in shown.err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["--workflow-profile", "default"]),
        (["--jobs", "2"], ["--workflow-profile", "default", "--cores=2"]),
        (["--profile", "slurm"], ["--workflow-profile", "slurm"]),
        (["--profile", "slurm", "--jobs", "8"], ["--workflow-profile", "slurm", "--jobs=8"]),
    ],
)
def test_a_sweep_runs_where_the_profile_says(given, expected, place, monkeypatch):
    asked = []
    monkeypatch.setattr(
        sweep.subprocess, "run", lambda command, cwd: asked.append(command) or SimpleNamespace(returncode=0)
    )
    assert runner.main(["sweep", "rq1_slicing", *given]) == 0
    assert asked[0][asked[0].index("sweep") + 1 : asked[0].index("--config")] == expected


def test_a_cell_of_a_sweep_is_filled_by_its_readings(place, monkeypatch):
    asked = []
    monkeypatch.setattr(runner.store, "fill", lambda *cell, **readings: asked.append((cell, readings)))
    command = ["fill", "--preset", "smoke", "--job", "rq1_slicing", "mlp-mnist", "3", "--readings"]
    assert runner.main([*command[:-1], "--readings=,centred=False,samples=64"]) == 0
    assert runner.main([*command[:-1], "--readings="]) == 0
    assert asked == [
        (("rq1_slicing", "smoke", "mlp-mnist", "3"), {"centred": False, "samples": 64}),
        (("rq1_slicing", "smoke", "mlp-mnist", "3"), {}),
    ]
