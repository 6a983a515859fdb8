"""The paper's own slips: worked out again from its tables, shown, and marked where they concern a cell."""

import pytest
import yaml
from written import body

from nssutils.companion import fragments, slips


def test_each_slip_is_worked_out_and_shown(here):
    slips.slips_table("s")
    rows = body(here, "s")[2:]
    assert len(rows) == len(slips.slips()) == 14
    shown = " ".join(cell for row in rows for cell in row)
    assert "(87.90 + 83.20) / 2 = 85.55" in shown
    assert "5 stay, 19 fall, of 24" in shown
    assert "VGG16-CIFAR10, FGSM: 37.30 − 13.10 = 24.20" in shown
    assert "category 4: 81.80 → 80.40" in shown
    assert "99.263 − 98.565 = 0.698" in shown and "99.317 − 98.565 = 0.752" in shown
    assert "VGG19-ImageNet10, FGSM: 44.22 against 48.59" in shown
    assert "VGG16-CIFAR10: 86.37 against 87.64" in shown


def test_the_cells_concerned_carry_a_dagger():
    cell = {"setting": "mlp-fmnist", "method": "replay10"}
    assert fragments.dagger(6, **cell, measure="Avg") == fragments.DAGGER
    assert fragments.dagger(6, **cell, measure="A") == ""
    assert fragments.dagger(3, band="20-30", category=4) == fragments.DAGGER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "unheard-of"}, "nothing works it out"),
        ({"recomputed_value": 1.0}, r"the tables give 85.5500, expected 1.0"),
        ({"recomputed_value": 85.56}, r"the tables give 85.5500, expected 85.56"),
    ],
)
def test_a_slip_that_is_none_is_refused(tmp_path, monkeypatch, change, message):
    entries = yaml.safe_load((slips.DATA / "paper" / "errors.yaml").read_text())
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "errors.yaml").write_text(yaml.safe_dump([entries[0] | change]))
    monkeypatch.setattr(slips, "DATA", tmp_path)
    with pytest.raises(slips.SlipError, match=message):
        slips.slips.__wrapped__()  # past its cache
