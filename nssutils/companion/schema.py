"""What a result may say: its fields, and what each column of its tables holds, wherever it stands.

A result is trusted by pages and claims, and shown: texts are of plain letters, so that none of them is markup.
"""

import math
import re

from nssutils import settings

PROVENANCE = {
    "setting": dict, "device": str, "versions": dict, "data_sha256": str, "code_sha256": str, "created": str,
    "seconds": float,
}  # fmt: skip
# Columns by what they hold, in every table of every chapter; others may hold any scalar, the same kind in each row.
SHARES = {
    "accuracy", "compression_rate", "similarity", "share", "train_accuracy", "finetuned", "ra", "raa", "clean",
    "robust", "tpr", "left", "precision", "recall", "f1", "auc", "trained", "wrong", "theta", "threshold",
    "a", "b", "a_told", "b_told", "a_untold", "b_untold", "accuracy_left", "attacked", "old_told",
}  # fmt: skip
COUNTS = {
    "parameters", "images", "neurons", "neuron", "category", "iterations", "steps", "epoch", "epochs",
    "bytes", "flops", "stored", "nodes", "misled", "fooled", "normal", "parameters_left",
    "operations", "operations_left",
}  # fmt: skip
AMOUNTS = {"seconds", "seconds_1", "seconds_256", "eps", "lr", "tau", "tolerance"}
MISSING = {"metric", "units", "accuracy", "train_accuracy", "at", "lr"}  # null where a method has none of it
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PLAIN = re.compile(r"[\w ()+,\-./:=%@#*'±≤≥×–→]*")


def fault(said: dict) -> str:
    """What is wrong with a result's fields, as "…, expected …"; "" where nothing is."""
    kinds = {"chapter": str, "preset": str, "setting": str, "seed": int, "readings": dict, "provenance": dict}
    for name, kind in (kinds | {"tables": dict}).items():
        if type(said[name]) is not kind:
            return f"{name} is {said[name]!r:.60}, expected {kind.__name__}"
    if not _NAME.fullmatch(said["chapter"]):
        return f"chapter is {said['chapter']!r}, expected a chapter's name"
    if said["setting"] not in settings.KNOWN or said["preset"] not in settings.PRESETS:
        return f"expected a setting of {settings.KNOWN} and a preset of {settings.PRESETS}"
    if said["seed"] < 0:
        return f"seed is {said['seed']}, expected 0 or more"
    origin = said["provenance"]
    if missing := PROVENANCE.keys() - origin.keys():
        return f"provenance lacks {', '.join(sorted(missing))}, expected {', '.join(PROVENANCE)}"
    for name, kind in PROVENANCE.items():
        if not (_is_number(origin[name]) if kind is float else isinstance(origin[name], kind)):
            return f"provenance.{name} is {origin[name]!r:.60}, expected {kind.__name__}"
    if not isinstance(origin.get("lock", {}), dict):
        return f"provenance.lock is {origin['lock']!r:.60}, expected dict"
    for what in ("readings", "provenance"):
        if wrong := _texts(said[what], what):
            return wrong
    return next((wrong for name, rows in said["tables"].items() if (wrong := _table(name, rows))), "")


def _table(name: str, rows) -> str:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return f"table {name!r} is no list of rows, expected one"
    for row in rows:
        if row.keys() != rows[0].keys():
            return f"rows of table {name!r} differ: {list(row)} and {list(rows[0])}, expected the same columns"
    columns = {column: [row[column] for row in rows] for column in (rows[0] if rows else ())}
    unsure = {column: values for column, values in columns.items() if not _sound(column, values)}
    return next((wrong for column, values in unsure.items() if (wrong := _column(name, column, values))), "")


def _sound(column: str, values: list) -> bool:
    """Whether a column is surely as it should be, told of all its values at once, which is ten times faster than one by
    one; where it is not sure, `_column` tells."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return column not in SHARES | COUNTS | AMOUNTS and all(map(is_plain, set(values)))
    if kinds == {float} and not all(map(math.isfinite, values)):
        return False
    if kinds not in ({float}, {int}):
        return False
    if column in SHARES:
        return min(values) >= 0 and max(values) <= 1
    if column in COUNTS and kinds == {float} and not all(map(float.is_integer, values)):
        return False
    return column not in COUNTS | AMOUNTS or min(values) >= 0


def _column(name: str, column: str, values: list) -> str:
    """What is wrong with a column of a table."""
    first = None
    for value in values:
        where = f"{name}.{column}"
        if wrong := _value(where, column, value):
            return wrong
        kind = float if _is_number(value) else type(value)
        first = first or (None if value is None else kind)
        if value is not None and kind is not first:
            return f"{where} is {value!r:.60} and above a {first.__name__}, expected one kind of value"
    return ""


def _value(where: str, column: str, value) -> str:
    """What is wrong with a cell of a table."""
    if not isinstance(value, str | int | float | None):
        return f"{where} is a {type(value).__name__}, expected a scalar"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where} is {value}, expected a finite number"
    if value is None:
        return "" if column in MISSING else f"{where} is null, expected a value"
    if column in SHARES and not (_is_number(value) and -1e-9 <= value <= 1 + 1e-9):
        return f"{where} is {value!r:.60}, expected a share in [0, 1]"
    if column in COUNTS and not (_is_number(value) and value == int(value) and value >= 0):
        return f"{where} is {value!r:.60}, expected a whole number, 0 or more"
    if column in AMOUNTS and not (_is_number(value) and value >= 0):
        return f"{where} is {value!r:.60}, expected a number, 0 or more"
    return _texts(value, where)


def is_plain(text: str) -> bool:
    """Whether a text can be shown on a page as it is."""
    return bool(_PLAIN.fullmatch(text))


def plain(text: str) -> str:
    """A text with a question mark for what is no plain letter, as in a processor's name."""
    return "".join(letter if is_plain(letter) else "?" for letter in text)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value, where: str) -> str:
    """What is wrong with the texts and numbers anywhere in a JSON value."""
    if isinstance(value, dict):
        return next((wrong for key, one in value.items() if (wrong := _texts(key, where) or _texts(one, key))), "")
    if isinstance(value, list):
        return next((wrong for one in value if (wrong := _texts(one, where))), "")
    if isinstance(value, str) and not is_plain(value):
        return f"{where} is {value!r:.60}, expected letters, digits and plain signs, no markup"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where} is {value}, expected a finite number"
    return ""
