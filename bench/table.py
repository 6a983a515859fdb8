"""`make bench`: every benchmark that takes minutes, then one table of what each has measured beside its target.

`python bench/table.py NAME ...` runs others: zoo and peers (the extra `zoo`; hours), scale (half an hour).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MINUTES = ("prefix_cka", "places", "deeplift", "extraction", "slices", "nnslicer", "small_maps", "bf16")
ROWS = "NSS_BENCH_ROWS"  # names the file that `row` writes to, a line of JSON each


def row(what: str, measured: float, target: float, unit: str = "×", least: bool = True) -> None:
    """Keep a line of the table, where one is made: what was measured, in `unit`, and at least or at most which."""
    if os.environ.get(ROWS):
        with Path(os.environ[ROWS]).open("a") as file:
            file.write(json.dumps([what, measured, target, unit, least]) + "\n")


def table(rows: list) -> str:
    """The rows as Markdown: with a limit, and whether it was met."""
    lines = ["| what | measured | target | |", "|:---|---:|---:|:---|"]
    for what, measured, target, unit, least in rows:
        met = measured >= target if least else measured <= target
        limit = f"at {'least' if least else 'most'} {target:g}{unit}"
        lines.append(f"| {what} | {measured:.3g}{unit} | {limit} | {'met' if met else 'missed'} |")
    return "\n".join(lines)


def main(names: list[str]) -> int:
    known = {file.stem for file in HERE.glob("*.py")} - {"table"}
    if strange := [name for name in names if name not in known]:
        print(f"{', '.join(strange)} given, expected some of: {', '.join(sorted(known))}.", file=sys.stderr)
        return 2
    failed = []
    with tempfile.NamedTemporaryFile("r", prefix="nss-bench-") as rows:
        for name in names or MINUTES:
            print(f"--- {name}", flush=True)
            environment = os.environ | {ROWS: rows.name}
            failed += [name] * bool(subprocess.run([sys.executable, HERE / f"{name}.py"], env=environment).returncode)
        print("\n" + table([json.loads(line) for line in rows]))
    if failed:
        print(f"not measured to the end, see above: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
