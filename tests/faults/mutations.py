"""Damages to files, drawn by hypothesis, and what may become of whoever reads them."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nssutils import NssError

_EDIT = st.tuples(
    st.sampled_from(["flip", "flip", "cut", "insert", "delete", "overwrite", "first bytes", "repeat"]),
    # Where, counted round and round the file. Hypothesis likes small numbers: scattered, they are anywhere.
    st.integers(0, 2**30).map(lambda drawn: drawn * 2_654_435_761 % 2**32),
    st.binary(min_size=1, max_size=9),
)
DAMAGES = st.lists(_EDIT, min_size=1, max_size=3)


def cases(count: int):
    """So many of them, the same in every run."""
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


def damaged(whole: bytes, damages) -> bytes:
    """A file's content with damages of the drawn kinds."""
    found = bytearray(whole)
    for kind, where, new in damages:
        at = where % (len(found) or 1)
        if kind == "flip" and found:
            found[at] ^= 1 << new[0] % 8
        elif kind == "cut":
            del found[at:]
        elif kind == "insert":
            found[at:at] = new
        elif kind == "delete":
            del found[at : at + len(new)]
        elif kind == "overwrite":
            found[at : at + len(new)] = new
        elif kind == "first bytes":
            found[: len(new)] = new
        elif kind == "repeat":
            found[at:at] = found[at : at + 40]
    return bytes(found)


def refused(read, same, *named: str) -> bool:
    """Whether `read` is refused by an error that names the file or parameter, what was found or expected, and the mend.
    Otherwise what it gives must be `same`; any other exception is a failure of the test."""
    try:
        found = read()
    except NssError as error:
        message = str(error)
        assert all(name in message for name in named), message
        assert any(word in message for word in ("expected", "again", "Delete", "delete", "restore")), message
        return True
    assert same(found)
    return False
