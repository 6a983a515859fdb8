"""The same tables whatever OMP_NUM_THREADS says; `tests/threads.py` looks at every chapter."""

from threads import told


def test_no_table_depends_on_the_number_of_threads():
    cells = ["method/lenet-mnist", "pilot_global/mlp-mnist"]
    one, many = told(cells, 1), told(cells, 4)
    assert [line.split()[0] for line in one.splitlines()] == cells
    assert one == many
