"""What counts as done, what is computed next, and what a time limit leaves."""

import fcntl
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nssutils import data, digests, files, settings, studies
from nssutils.companion import (
    chapters,
    checksums,
    locks,
    pages,
    progress,
    provenance,
    results,
    runner,
    steps,
    workflow,
)
from nssutils.companion import store as fills
from nssutils.companion.store import fill, holds

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store and build folder, and chapters that cost nothing: {(chapter, setting, seed): calls}."""
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(workflow, "BUILD", tmp_path / "build")
    monkeypatch.setattr(workflow, "STAMPS", tmp_path / "build" / "jobs")
    calls: dict = {}

    def study(chapter):
        def measure(setting, seed, loaded):
            calls[chapter, setting.name, seed] = calls.get((chapter, setting.name, seed), 0) + 1
            return {"base": [{"accuracy": 0.5}]}

        measure.__module__, measure.__qualname__ = "nssutils.studies.pilot", "measure_global"
        return measure

    for chapter in studies.STUDIES:
        monkeypatch.setitem(studies.STUDIES, chapter, study(chapter))
    return calls


def test_every_cell_of_the_store_is_a_job():
    found = workflow.jobs("paper")
    assert len(found) == len(set(found)) == 5 * (4 + 4 + 4 * 6 + 5 + 4 + 2 + 3 + 2 + 1 + 1 + 2 + 2)
    assert workflow.jobs("published") == []
    assert {job.chapter for job in found} == set(studies.STUDIES)


def test_a_job_is_stale_exactly_when_what_it_depends_on_has_changed(store, monkeypatch):
    job = workflow.Job("pilot_global", "smoke", "vgg16-cifar10", 0)
    assert workflow.state(job) == "missing"
    workflow.compute(job)
    assert workflow.state(job) == "held"
    file = results.path(results.local(), "pilot_global", "smoke", "vgg16-cifar10", 0, {})
    os.utime(file, (0, 0))  # no date plays a part
    assert workflow.state(job) == "held"
    for changed in (
        lambda patch: patch.setattr(digests, "code", lambda *roots: "0" * 64),
        lambda patch: patch.setitem(settings._SMOKE, "vgg16-cifar10", settings._SMOKE["vgg16-cifar10"] | {"epochs": 9}),
        lambda patch: patch.setattr(checksums, "of", lambda setting: "0" * 64),
        lambda patch: patch.setattr(provenance, "lock", lambda: {"torch": "3.0"}),
    ):
        with monkeypatch.context() as patch:
            changed(patch)
            assert workflow.state(job) == "stale"
        assert workflow.state(job) == "held"
    with monkeypatch.context() as patch:  # a refactoring: other code, and a certificate that it computes the same
        patch.setattr(digests, "code", lambda *roots: "0" * 64)
        assert workflow.state(job) == "stale" and not workflow.done(job)
        patch.setattr(digests, "equivalent", lambda what, first, second: (what, second) == ("pilot_global", "0" * 64))
        assert workflow.state(job) == "certified" and workflow.done(job)
        assert "0 certified" in workflow.listing(["smoke"])
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "of", lambda setting: None)  # a dataset that is not here cannot have changed here
        assert workflow.state(job) == "held"


def test_the_lock_counts_not_what_is_installed(store, monkeypatch):
    """A GPU's machine may have another torch; its results hold here as long as the lock is the same."""
    job = workflow.Job("pilot_global", "smoke", "vgg16-cifar10", 0)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "versions", lambda: dict.fromkeys(provenance.lock(), "2.11.0"))
        workflow.compute(job)
    (result,) = fill("pilot_global", "smoke", "vgg16-cifar10", 0)
    assert result.provenance["versions"]["torch"] == "2.11.0" and store["pilot_global", "vgg16-cifar10", 0] == 1
    assert result.provenance["lock"]["torch"] == provenance.lock()["torch"]


def test_checksum_is_that_of_the_data_and_no_date_changes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("NSS_DATA", str(tmp_path))
    setting = settings.get("vgg16-cifar10", "quick")
    assert checksums.of(setting) is None
    (tmp_path / "cifar10.npz").write_bytes(b"first")
    reads = []

    def load(setting):
        reads.append(setting)
        content = (tmp_path / "cifar10.npz").read_bytes()
        return data.Data(*[torch.empty(0)] * 6, sha256=content.hex())

    monkeypatch.setattr(data, "load", load)
    first = checksums.of(setting)
    assert checksums.of(setting) == first == b"first".hex() and len(reads) == 1
    (tmp_path / "cifar10.npz").touch()
    assert checksums.of(setting) == first  # read again, found the same
    (tmp_path / "cifar10.npz").write_bytes(b"second")
    assert checksums.of(setting) == b"second".hex()
    monkeypatch.undo()
    smoke = settings.get("vgg16-cifar10", "smoke")
    assert checksums.of(smoke) == data.load(smoke).sha256


def test_most_informative_first():
    order = workflow.ordered(workflow.jobs("quick"))
    assert [job.seed for job in order] == sorted(job.seed for job in order)
    first = [job for job in order if job.seed == 0]
    assert [job.chapter for job in first[:4]] == [
        "pilot_global",
        "pilot_categorywise",
        "rq1_slicing",
        "rq2_restructuring",
    ]
    assert {job.setting for job in first[:7]} == {"vgg16-cifar10"}
    assert set(workflow.FIRST) == set(settings.KNOWN)


def test_a_result_stands_on_a_machine_of_other_arithmetic(store):
    workflow.compute(workflow.Job("pilot_global", "smoke", "vgg16-cifar10", 0))
    found = results.find("pilot_global", "smoke", "vgg16-cifar10", 0)
    assert holds(found, settings.get("vgg16-cifar10", "smoke", reduced=True, reduced_evaluation=True)) == "code"
    assert holds(found, settings.get("vgg16-cifar10", "smoke", epochs=5)) == ""


def test_seeds_are_listed_by_state():
    assert workflow._states({"held": [0, 1, 2, 3, 4]}) == "0-4"
    assert workflow._states({"held": [0], "missing": [1, 2]}) == "0, 1-2 missing"
    assert workflow._states({"stale": [0, 2], "missing": [1]}) == "0 2 stale, 1 missing"


def test_fill_goes_on_where_the_store_stands(store):
    total = len(workflow.jobs("smoke"))
    assert workflow.fill("smoke") == (total, [], [])
    assert workflow.fill("smoke") == (0, [], [])
    assert set(store.values()) == {1} and len(store) == total
    listed = workflow.listing(["smoke"]).splitlines()
    assert len(listed) == 1 + total and all(line.split()[2:] == ["0"] for line in listed[1:])


def test_a_limit_keeps_what_is_complete_and_nothing_else(store, monkeypatch):
    second = workflow.ordered(workflow.jobs("smoke"))[1]

    def slow(setting, seed, loaded):
        while True:
            time.sleep(0.01)

    slow.__module__, slow.__qualname__ = "nssutils.studies.pilot", "measure_global"
    with monkeypatch.context() as patch:
        patch.setitem(studies.STUDIES, second.chapter, slow)
        done, left, failed = workflow.fill("smoke", limit=0.5)
    assert done == 1 and failed == [] and left[0] == second and len(left) == len(workflow.jobs("smoke")) - 1
    kept = [path for path in results.local().rglob("*") if ".claims" not in path.parts and path.is_file()]
    assert [path.name for path in kept] == ["seed0.json"]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert workflow.fill("smoke")[1] == []


def test_a_failure_does_not_stop_the_rest(store, monkeypatch, capsys):
    def failing(setting, seed, loaded):
        raise ZeroDivisionError("no memory")

    failing.__module__, failing.__qualname__ = "nssutils.studies.pilot", "measure_global"
    with monkeypatch.context() as patch:
        patch.setitem(studies.STUDIES, "rq1_slicing", failing)
        assert runner.main(["fill", "--preset", "smoke"]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: no memory" in shown and "6 cells failed, see above: rq1_slicing, vgg16" in shown
    done, left, failed = workflow.fill("smoke")
    assert (done, left, failed) == (6, [], []) and set(store.values()) == {1}


def test_stamps_say_what_the_store_holds(store, monkeypatch):
    found, every = workflow.sync("smoke"), pages.chapters(chapters.BOOK)
    assert not any(job.stamp.exists() for job in found)
    workflow.fill("smoke")
    workflow.sync("smoke")
    assert all(job.stamp.exists() for job in found)
    for chapter in every:  # as if executed
        (workflow.BUILD / "book").mkdir(exist_ok=True, parents=True)
        (workflow.BUILD / "book" / f"{chapter}.ipynb").touch()
        workflow.stamped(workflow.executed(chapter), workflow.page_key("smoke", chapter))
    (workflow.BUILD / "_build/html").mkdir(parents=True)
    (workflow.BUILD / "_build/html/index.html").touch()
    workflow.stamped(workflow.rendered(), workflow.book_key("smoke"))
    workflow.sync("smoke")
    assert all(workflow.executed(chapter).exists() for chapter in every) and workflow.rendered().exists()
    workflow.sync("published")  # shows other results: every page is to be made anew
    assert not any(workflow.executed(chapter).exists() for chapter in every)
    assert not workflow.rendered().exists()
    for chapter in every:
        workflow.stamped(workflow.executed(chapter), workflow.page_key("smoke", chapter))
    results.path(results.local(), "rq1_slicing", "smoke", "mlp-mnist", 0, {}).unlink()
    workflow.sync("smoke")
    gone = [job for job in found if not job.stamp.exists()]
    assert gone == [workflow.Job("rq1_slicing", "smoke", "mlp-mnist", 0)]
    assert not workflow.executed("rq1_slicing").exists() and workflow.executed("rq2_restructuring").exists()
    assert not workflow.executed("claims").exists()  # it judges every chapter's results


def elsewhere(lock, seconds):
    """A process that holds a lock for so long, once it has it."""
    call = "import sys, time, pathlib; from nssutils.companion import locks\n"
    call += (
        "with locks.held(pathlib.Path(sys.argv[1]), 'it'): print('mine', flush=True); time.sleep(float(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", call, lock, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"mine\n"
    return process


def test_who_looks_at_a_lock_is_in_nobody_s_way(tmp_path):
    lock = tmp_path / "lock"
    with locks.held(lock, "it"):
        pass
    with open(lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # another looks
        assert not locks.holder(lock)
    with locks.held(lock, "it"):
        assert locks.holder(lock)


def test_a_lock_says_who_holds_it_and_is_free_when_he_is_killed(tmp_path, capsys):
    lock = tmp_path / "a" / "lock"
    other = elsewhere(lock, 60)
    with pytest.raises(locks.LockError, match=rf"the book is locked by process {other.pid} on .* since 20\d\d-.*Wait"):
        with locks.held(lock, "the book"):
            pass
    assert re.match(rf"process {other.pid} on .* since 20\d\d-", locks.holder(lock))
    other.kill()
    other.wait()
    assert not locks.holder(lock)
    other = elsewhere(lock, 1)
    with locks.held(lock, "the book", wait=True):
        assert f"waiting for the book: process {other.pid}" in capsys.readouterr().err
    other.wait()


def test_status_says_what_is_done_who_is_at_work_and_how_long_the_rest_may_take(store, monkeypatch):
    several = settings._SMOKE["vgg16-cifar10"] | {"seeds": (0, 1, 2)}
    monkeypatch.setitem(settings._SMOKE, "vgg16-cifar10", several)
    first, second, third = (workflow.Job("pilot_global", "smoke", "vgg16-cifar10", seed) for seed in range(3))
    workflow.compute(first)
    file = results.path(results.local(), *first.cell)
    results.save(replace(found := results.read(file), provenance=found.provenance | {"seconds": 7200.0}))
    other = elsewhere(fills.claim(*second.cell), 60)
    told = progress.status(["smoke"]).splitlines()
    other.kill()
    other.wait()
    cells = len([job for job in workflow.jobs("smoke") if job.setting == "vgg16-cifar10"])
    assert told[2].split() == ["vgg16-cifar10", "1", "of", str(cells), "1", str(cells - 2), "2.0+"]  # of the third seed
    assert f"running: {second}: process {other.pid}" in "\n".join(told)
    assert told[-1] == f"next: {workflow.ordered(workflow.jobs('smoke'))[1]} (nss fill --preset smoke)"
    for job in workflow.jobs("smoke"):
        if job != third:
            workflow.compute(job)
    told = progress.status(["smoke"]).splitlines()
    assert told[2].split()[-3:] == ["0", "1", "1.0"]  # the median of two hours and nothing
    assert told[-1] == f"next: {third} (nss fill --preset smoke)"


def test_two_builds_in_one_clone_are_one_after_another(store, capsys):
    other = elsewhere(workflow.BUILD / ".lock", 60)
    try:
        assert runner.main(["book", "--preset", "published"]) == 1
    finally:
        other.kill()
    assert f"preset published) is locked by process {other.pid} on" in capsys.readouterr().err
    other.wait()


def test_two_fills_share_the_cells(store):
    first = workflow.ordered(workflow.jobs("smoke"))[0]
    other = elsewhere(fills.claim(first.chapter, "smoke", first.setting, first.seed, {}), 60)
    computed, left, failed = workflow.fill("smoke")
    assert (left, failed) == ([first], []) and computed == len(workflow.jobs("smoke")) - 1
    other.kill()
    other.wait()
    assert workflow.fill("smoke") == (1, [], [])
    assert set(store.values()) == {1}


def test_two_processes_train_no_network_twice(store, tmp_path, monkeypatch, capsys):
    """While another process trains a network, cells of others are computed; then it is waited for, and not trained."""
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    setting = settings.get("mlp-mnist", "smoke", width=0.02, epochs=1)
    monkeypatch.setattr(settings, "get", lambda name, preset: setting)
    loaded = data.load(setting)
    first, second = (workflow.Job(chapter, "smoke", "mlp-mnist", 0) for chapter in ("pilot_global", "rq1_slicing"))
    monkeypatch.setattr(workflow, "jobs", lambda preset: [first, second])
    other = elsewhere(fills.network(setting, 0), 2)
    assert workflow.fill("smoke") == (2, [], [])
    shown = capsys.readouterr().err
    assert shown.count("waiting for network mlp-mnist, seed 0: process") == 1
    other.wait()
    with fills.training_alone(setting, {0}, loaded):
        assert locks.holder(fills.network(setting, 0))
        net = fills.training.trained(setting, 0, loaded)
    with fills.training_alone(setting, {0}, loaded):  # it is there: nobody needs to wait
        assert not locks.holder(fills.network(setting, 0))
        monkeypatch.setattr(fills.training, "_save", lambda *args: pytest.fail("trained twice"))
        workflow.train("smoke", "mlp-mnist", 0)
        assert net is not None


def test_a_result_waits_for_the_networks_it_is_measured_on_alone():
    """None needs the first seed's network but those that read `setting.seeds`, or measure what does: no other waits for
    its training."""
    sources = {name: inspect.getsource(inspect.getmodule(measure)) for name, measure in studies.STUDIES.items()}
    reads = re.compile(r"setting\.seeds|\b(rq3|deeparc)\.measure\(")
    read = {chapter for chapter, source in sources.items() if reads.search(source)}
    assert read == set(studies.BY_THE_FIRST)
    for chapter in sources:
        wanted = {0, 3} if chapter in read else {3}
        assert workflow.Job(chapter, "paper", "resnet10-cifar10", 3).networks == wanted


def test_a_full_disk_stops_a_fill_at_once(store, capsys, monkeypatch):
    def full(result):
        store["saved"] = store.get("saved", 0) + 1
        raise files.FileError("seed0.json cannot be written (No space left on device).")

    monkeypatch.setattr(results, "save", full)
    assert runner.main(["fill", "--preset", "smoke"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == "nss: seed0.json cannot be written (No space left on device)." and store["saved"] == 1
    assert "Traceback" not in "".join(shown)


def test_a_malformed_result_is_listed_as_damaged_and_no_reason_to_stop(store, capsys):
    workflow.fill("smoke")
    file = results.path(results.local(), "rq1_slicing", "smoke", "mlp-mnist", 0, {})
    file.write_text("{")
    capsys.readouterr()
    assert runner.main(["list", "--preset", "smoke"]) == 0
    shown = capsys.readouterr()
    assert "seed0.json cannot be read" in shown.err
    assert [line.split() for line in shown.out.splitlines() if "damaged" in line] == [
        ["rq1_slicing", "mlp-mnist", "0", "damaged"]
    ]
    workflow.sync("smoke")
    assert workflow.fill("smoke")[0] == 1 and file.with_name("seed0.json.damaged").exists()


def test_a_damaged_stamp_is_one_that_is_not_there(store):
    workflow.fill("smoke")
    for spoil in (lambda stamp: stamp.write_bytes(b"\xff"), lambda stamp: stamp.mkdir()):
        stamp = workflow.executed("rq1_slicing")
        stamp.parent.mkdir(parents=True, exist_ok=True)
        spoil(stamp)
        (workflow.BUILD / "book").mkdir(exist_ok=True)
        (workflow.BUILD / "book" / "rq1_slicing.ipynb").touch()
        workflow.sync("smoke")
        assert not stamp.exists()


def test_damaged_checksums_are_set_aside_and_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("NSS_DATA", str(tmp_path))
    (tmp_path / "cifar10.npz").write_bytes(b"it")
    monkeypatch.setattr(data, "load", lambda setting: data.Data(*[torch.empty(0)] * 6, sha256="ab" * 32))
    setting, file = settings.get("vgg16-cifar10", "quick"), tmp_path / "cache" / "checksums.json"
    checksums.of(setting)
    whole = file.read_text()
    for spoilt in (
        "",
        "[]",
        "[" * 100_000,
        whole.replace("abab", "abcd"),
        whole[:-3],
        '{"checksums": [], "sha256": 1}',
    ):
        file.write_text(spoilt)
        assert checksums.of(setting) == "ab" * 32
        assert "checksums.json.damaged and made again" in capsys.readouterr().err
        assert file.read_text() == whole


def test_a_command_is_quoted_wherever_a_clone_lies(tmp_path, monkeypatch):
    folder = tmp_path / """a $HOME `id` "b" 'c' {d} & e"""
    folder.mkdir()
    (folder / "python").write_text('#!/bin/sh\necho "$@"')
    (folder / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    called = subprocess.run(["bash", "-c", steps.command().format()], capture_output=True, text=True)
    assert called.stdout == "-m nssutils.companion.runner\n", called.stderr


def test_a_job_on_a_cluster_reads_the_snakefile_without_torch():
    call = "import sys; from nssutils.companion import steps; print(steps.THREADS, 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(fills.training.THREADS), "False"]
    planned = (ROOT / "Snakefile").read_text().partition("if workflow.is_main_process:\n")[2]
    assert "store.sync(" in planned and "store.mark(" in planned and "import torch" in planned


def test_planning_starts_without_what_only_some_chapters_need():
    names = {"sklearn", "scipy.stats", "papermill", "matplotlib"}
    call = f"import sys, nssutils.companion.workflow; print({names} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_a_run_that_fails_takes_back_the_chapters_stamp(store, monkeypatch):
    workflow.stamped(workflow.executed("method"), "once right")
    monkeypatch.setattr(runner, "run", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.main(["page", "method", "--preset", "smoke"])
    assert not workflow.executed("method").exists()


def test_commands(store, capsys, monkeypatch):
    assert runner.main(["fill", "--preset", "smoke", "--job", "rq1_slicing", "mlp-mnist", "0"]) == 0
    assert list(store) == [("rq1_slicing", "mlp-mnist", 0)]
    assert runner.main(["list", "--preset", "smoke"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["chapter", "setting", "smoke"]
    assert ["rq1_slicing", "mlp-mnist", "0"] in rows
    assert ["rq1_slicing", "mlp-fmnist", "0", "missing"] in rows
    assert runner.main(["fill", "--preset", "smoke", "--setting", "lenet-mnist"]) == 0
    assert {setting for _, setting, _ in store} == {"mlp-mnist", "lenet-mnist"}  # the first by its --job
    assert runner.main(["fill", "--preset", "smoke"]) == 0
    assert re.search(r"\d+ cells computed, 0 left", capsys.readouterr().err)
    assert runner.main(["fill", "--preset", "smoke", "--job", "rq1_slicing", "mlp", "0"]) == 1
    assert "unknown setting 'mlp'" in capsys.readouterr().err


def snakemake(folder, *options, code=0):
    """Snakemake in a copy, so that no stamp of this folder is touched; `code` is how it is to exit."""
    for name in ("nssutils", "book", "data/results", "data/paper", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "_config.yml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    if "-n" not in options:  # steps say what they would do
        (folder / "nssutils" / "companion" / "steps.py").write_text("THREADS = 1\ndef command(): return 'echo'\n")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    environment = os.environ | {"PYTHONPATH": str(folder), "NSS_RESULTS": str(folder / "empty")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_a_sweep_does_not_undo_the_stamps_of_a_build_under_way(tmp_path):
    network = tmp_path / "build" / "jobs" / "networks" / "smoke" / "mlp-mnist" / "seed0"
    network.parent.mkdir(parents=True)
    network.touch()
    cells = tmp_path / "cells.json"
    cells.write_text('[["rq1_slicing", "smoke", "mlp-mnist", 0, []]]')
    other = elsewhere(tmp_path / "build" / ".lock", 600)
    try:
        shown = snakemake(tmp_path, "sweep", "-n", "--config", f"sweep={cells}", code=1)
    finally:
        other.kill()
        other.wait()
    assert f"the workflow (wanted: a sweep) is locked by process {other.pid} on" in shown.stdout + shown.stderr
    assert network.exists()


def test_at_smoke_the_cells_of_a_network_share_a_process(tmp_path):
    wanted = [f"build/jobs/smoke/pilot_global/{name}/seed0" for name in ("mlp-mnist", "vgg16-cifar10")]
    snakemake(tmp_path, *wanted, "--config", "preset=smoke")
    logs = {log.stem: log.read_text().split() for log in (tmp_path / "build" / "jobs" / "smoke").glob("*.log")}
    assert logs == {name: f"fill --preset smoke --setting {name}".split() for name in ("mlp-mnist", "vgg16-cifar10")}
    assert (tmp_path / "build" / "jobs" / "smoke" / "rq4_incremental" / "vgg16-cifar10" / "seed0").exists()


def test_elsewhere_each_cell_is_a_job_of_its_own(tmp_path):
    """On a cluster, where a job of Snakemake's reads the Snakefile anew, and at other presets."""
    wanted = "build/jobs/quick/pilot_global/mlp-mnist/seed0"
    shown = snakemake(tmp_path, wanted, "-n", "-p", "--config", "preset=quick").stdout
    assert "fill --preset quick --job pilot_global mlp-mnist 0" in shown and "train mlp-mnist 0" in shown


def test_snakemake_asks_for_every_chapter_and_computes_nothing_published(tmp_path):
    done = snakemake(tmp_path, "-n", "--config", "preset=published")
    assert re.search(rf"^chapter +{len(chapters.known())}$", done.stdout, re.M), done.stdout
    assert not re.search(r"^(job|network) +\d+$", done.stdout, re.M)
