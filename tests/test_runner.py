"""Running chapters, on tiny notebooks: what is refused and how, what is kept, what the terminal shows."""

import errno
import shutil
import signal
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nssutils import files, studies
from nssutils.companion import chapters, pages, ranges, results, runner, store

PARAMETERS = """\
preset = "smoke"  # how much to compute
seed = "all"  # a seed, or all
samples = 256  # images of each class
theta = 0.95  # the threshold
recompute = False  # measure again"""


def write(path, *sources):
    """A notebook with the parameters above and code cells."""
    cells = [new_markdown_cell("# Title"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A book of two chapters."""
    folder = tmp_path_factory.mktemp("book with a blank")
    write(
        folder / "good.ipynb",
        "import sys; print('training', 3, file=sys.stderr); print(f'{preset} {seed!r} {samples} {theta} {recompute}')",
        "from pathlib import Path; _ = Path('beside.txt').write_text('written')",
        # What a kernel says of itself, for instance that it was interrupted while it shut down, is not shown.
        "from ipykernel.kernelapp import IPKernelApp; IPKernelApp.instance().log.error('interrupted')",
    )
    write(folder / "failing.ipynb", "print('before')", "raise ValueError('no neurons\\nat all')", "print('after')")
    return folder


def outputs(notebook):
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return "".join(output.get("text", "") for cell in cells for output in cell.outputs)


@pytest.mark.parametrize(
    "command", ["run good --out {}", "slice here:net --data here:data --out {}", "pdf --out {}", "crate {}"]
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_computed(command, folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        runner.main(command.format(tmp_path / "file" / "in").split(), folder)
    assert stopped.value.code == 2
    assert f"{tmp_path / 'file'} is no folder that may be written to" in capsys.readouterr().err


def test_a_folder_is_no_place_for_an_executed_copy(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        runner.main(["run", "good", "--out", str(tmp_path)], folder)
    assert f"{tmp_path} is a folder, expected a file in it" in capsys.readouterr().err


def test_run_passes_typed_values_and_shows_the_output(folder, tmp_path, capfd):
    given = ["seed=3", "samples=64", "theta=1", "recompute=true"]
    out = runner.run("good", given, tmp_path / "a folder" / "copy.ipynb", folder)
    assert "smoke '3' 64 1.0 True" in outputs(out)
    assert (out.parent / "beside.txt").read_text() == "written"
    assert sorted(path.name for path in out.parent.iterdir()) == ["beside.txt", "copy.ipynb"]
    shown = capfd.readouterr()
    assert "smoke '3' 64 1.0 True" in shown.out
    assert "training 3\n" == shown.err  # that, and no warning of any of the tools


def test_failing_cell_keeps_the_copy(folder, tmp_path, capfd):
    out = tmp_path / "copy.ipynb"
    assert runner.main(["run", "failing", "--out", str(out)], folder) == 1
    assert outputs(out) == "before\n"
    error = capfd.readouterr().err
    assert "ValueError: no neurons\nat all\n" in error
    assert "copy.ipynb" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("seeed=3", "unknown parameter 'seeed'; known: preset, seed, samples, theta, recompute. Did you mean 'seed'?"),
        ("colour=3", "unknown parameter 'colour'; known: preset, seed, samples, theta, recompute."),
        ("samples=many", "parameter 'samples': 'many' given, expected a whole number."),
        ("samples=2.5", "parameter 'samples': '2.5' given, expected a whole number."),
        ("theta=high", "parameter 'theta': 'high' given, expected a number."),
        ("recompute=1", "parameter 'recompute': '1' given, expected true or false."),
        ("seed", "'seed' given, expected name=value."),
    ],
)
def test_wrong_parameters_are_refused(folder, capsys, given, expected):
    assert runner.main(["run", "good", "-p", given], folder) == 2
    assert capsys.readouterr().err == f"nss: {expected}\n"


def test_unknown_chapter_is_refused(folder, capsys):
    assert runner.main(["run", "goof"], folder) == 2
    assert capsys.readouterr().err == "nss: unknown chapter 'goof'; known: failing, good. Did you mean 'good'?\n"
    assert runner.main(["run"], folder) == 2
    assert "known: failing, good." in capsys.readouterr().err


def test_help_shows_the_chapters_own_parameters(folder, capsys):
    assert runner.main(["run", "good", "--help"], folder) == 0
    shown = capsys.readouterr().out
    assert [line.split(maxsplit=2) for line in shown.splitlines() if line.startswith("  ")] == [
        ["preset=smoke", "str", "how much to compute"],
        ["seed=all", "str", "a seed, or all"],
        ["samples=256", "int", "images of each class"],
        ["theta=0.95", "float", "the threshold"],
        ["recompute=False", "bool", "measure again"],
    ]
    assert runner.main(["run", "--help"], folder) == 0
    assert "  failing\n  good\n" in capsys.readouterr().out


def test_a_run_of_ones_own_is_not_in_the_book_and_names_no_machine(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "BUILD", tmp_path / "build")
    out = runner.run("good", ["theta=0.5"], folder=folder)
    assert out == tmp_path / "build/runs/good/good.ipynb" and (out.parent / "beside.txt").exists()
    assert not (tmp_path / "build" / "book").exists()
    assert str(tmp_path) not in out.read_text() and str(folder) not in out.read_text()
    assert nbformat.read(out, as_version=4).metadata.papermill.parameters == {"theta": 0.5}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("samples=-5", "parameter 'samples': -5 given, expected 2 or more."),
        ("seed=-1", "parameter 'seed': '-1' given, expected all, or numbers from 0, separated by commas."),
        ("seed=0,0", "parameter 'seed': '0,0' given, expected all, or numbers from 0"),
        ("seed=²", "expected letters, digits|parameter 'seed'"),
        ("theta=1.01", "parameter 'theta': 1.01 given, expected a share in [0, 1]."),
        ("theta=nan", "parameter 'theta': nan given, expected a finite number."),
        ("preset=smok", "given, expected one of smoke, quick, overnight, paper, published. Did you mean 'smoke'?"),
    ],
)
def test_parameters_out_of_range_are_refused_before_a_kernel_starts(folder, capsys, monkeypatch, given, expected):
    monkeypatch.setattr(runner.papermill, "execute_notebook", None)
    assert runner.main(["run", "good", "-p", given], folder) == 2
    shown = capsys.readouterr().err
    assert any(part in shown for part in expected.split("|")) and given.split("=")[0] in shown


@pytest.mark.parametrize("chapter", studies.STUDIES)
def test_every_parameter_of_a_chapter_has_a_range_and_its_default_is_in_it(chapter):
    known = chapters.parameters(chapters.find(chapter)).values()
    ranges.check({each.name: each.default for each in known})
    assert {each.name for each in known if each.kind != "bool"} <= ranges.RANGES.keys() | ranges.FREE


@pytest.mark.parametrize(
    "name, value",
    [("epochs", -1), ("tolerance", 2.0), ("lr", 0.0), ("lr", float("inf")), ("mix", "<b>"), ("task_a", "/../x")],
)
def test_what_means_nothing_is_refused(name, value):
    with pytest.raises(ranges.RangeError, match=f"parameter '{name}': .* given, expected"):
        ranges.check({name: value})


@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_a_run_with_one_line(tmp_path, number, code, word):
    write(tmp_path / "slow.ipynb", "print('it runs', flush=True); import time; time.sleep(120)")
    call = "import sys, pathlib; from nssutils.companion import runner; "
    call += "sys.exit(runner.main(['run', 'slow', '--out', sys.argv[2]], pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", call, tmp_path, tmp_path / "out" / "slow.ipynb"]
    process = subprocess.Popen(
        command, cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "it runs\n"
    process.send_signal(number)
    assert process.wait(60) == code
    assert process.stderr.read() == f"\nnss: {word}; what is computed is kept, the same command goes on from there.\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_one_line(folder, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "copy.ipynb")

    monkeypatch.setattr(runner.papermill, "execute_notebook", full)
    assert runner.main(["run", "good"], folder) == 1
    assert capsys.readouterr().err.startswith(
        "nss: copy.ipynb cannot be written (No space left on device), expected a disk"
    )


def dying(times):
    """A stand-in for papermill whose kernel dies so many times, with the number of calls."""

    def execute(notebook, out, *args, **kwargs):
        execute.calls += 1
        out.write_text(notebook.read_text())
        if execute.calls <= times:
            raise RuntimeError("Kernel died before replying to kernel_info")

    execute.calls = 0
    return execute


def test_kernel_that_dies_is_started_again(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner.papermill, "execute_notebook", dying(2))
    runner.run("good", [], tmp_path / "copy.ipynb", folder)
    assert capsys.readouterr().err.count("Kernel died before replying to kernel_info; starting again\n") == 2


def test_kernel_that_keeps_dying_is_reported(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.papermill, "execute_notebook", dying(9))
    with pytest.raises(runner.RunError, match="Kernel died before replying"):
        runner.run("good", [], tmp_path / "copy.ipynb", folder)
    assert runner.papermill.execute_notebook.calls == 3


def test_chapters_are_the_notebooks_of_the_contents_in_order(tmp_path):
    (tmp_path / "_toc.yml").write_text(
        "{root: intro, parts: [{chapters: [{file: b}, {file: text, sections: [{file: c}]}]}, {chapters: [{file: a}]}]}"
    )
    for name in "abcd":
        (tmp_path / f"{name}.ipynb").touch()
    assert pages.chapters(tmp_path) == ["b", "c", "a"]


def test_publish_copies_results_to_the_book_and_draws_the_readmes_pictures(tmp_path, monkeypatch, capfd):
    one = results.published("pilot_global", ["alexnet-cifar10"])[0]
    book = tmp_path / "book"
    (book / "_static").mkdir(parents=True)
    for chapter in ("pilot_global", "pilot_categorywise"):
        shutil.copy(chapters.BOOK / f"{chapter}.ipynb", book)
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "local"))
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(store, "holds", lambda result, setting: "code")
    results.save(one)
    assert runner.main(["publish", "pilot_global", "--preset", one.preset], book) == 0
    assert (tmp_path / f"published/pilot_global/{one.preset}/alexnet-cifar10/seed{one.seed}.json").exists()
    assert "<svg" in (book / "_static" / "claims.svg").read_text()
    assert f"seed{one.seed}.json" in capfd.readouterr().err
    assert runner.main(["publish", "pilot_categorywise", "--preset", "quick"], book) == 1
    assert "has no result of pilot_categorywise at preset quick" in capfd.readouterr().err
    assert runner.main(["publish", "pilot_globl", "--preset", "quick"], book) == 2
    with pytest.raises(SystemExit):  # argparse refuses smoke
        runner.main(["publish", "pilot_global", "--preset", "smoke"], book)


CHAPTERS = [path.stem for path in sorted(chapters.BOOK.glob("*.ipynb"))]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_line_of_a_chapters_parameters_is_one(chapter):
    """papermill passes over a line whose comment it cannot parse; the parameter would then be unknown."""
    cells = nbformat.read(chapters.BOOK / f"{chapter}.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    known = chapters.parameters(chapters.BOOK / f"{chapter}.ipynb")
    assert list(known) == [line.split(" = ")[0] for line in cell.source.splitlines()]
    assert all(parameter.help for parameter in known.values())


@pytest.mark.parametrize("chapter", studies.STUDIES)
def test_a_chapters_readings_are_its_studys_with_the_same_defaults(chapter):
    known = {name: parameter.default for name, parameter in chapters.parameters(chapters.find(chapter)).items()}
    readings = studies.STUDIES[chapter].__kwdefaults__ or {}
    assert {name: known[name] for name in readings} == readings


@pytest.mark.parametrize(
    "given, message",
    [
        (["fill", "--preset", "smoke", "--limit", "-3"], "expected seconds from 0"),
        (["fill", "--preset", "smoke", "--limit", "nan"], "expected seconds from 0"),
        (["train", "mlp-mnist", "-1", "--preset", "smoke"], "parameter 'seed'"),
        (
            ["fill", "--preset", "smoke", "--job", "rq1_slicing", "mlp-mnist", "0", "--readings", "setting=all"],
            "unknown",
        ),
    ],
)
def test_numbers_and_readings_that_mean_nothing_are_refused(capsys, given, message):
    try:
        code = runner.main(given)
    except SystemExit as stopped:  # of argparse
        code = stopped.code
    assert code == 2 and message in capsys.readouterr().err


def test_a_store_is_a_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSS_RESULTS", str(tmp_path / "file"))
    assert runner.main(["claims"]) == 1 and "is a file, expected a folder" in capsys.readouterr().err
