"""Where what is shown is from, folded below it: preset, networks, test images, device, code, data, how to remake it."""

from collections.abc import Iterable

from nssutils.companion.results import Result

SMOKE = "smoke runs on other data and thin networks: no reproduction"


def scale(group: list[Result]) -> str:
    """How large an experiment was, as a badge."""
    return badge(group[0].preset, len(group))


def badge(preset: str, networks: int) -> str:
    return f'<span class="scale scale-{preset.split()[0]}">{preset}, n = {networks}</span>'


def by_cell(found: Iterable[Result]) -> list[list[Result]]:
    """Results of one chapter, setting and preset together, in the order in which they come."""
    cells: dict[tuple[str, ...], list[Result]] = {}
    for result in found:
        cells.setdefault((result.chapter, result.setting, result.preset), []).append(result)
    return list(cells.values())


def fold(found: list[Result], titles: dict[str, str], downloads: str = "", note: str = "") -> str:
    """A fold as MyST: its summary names the settings by scale, inside is all that the results say of their making."""
    cells = by_cell(found)
    by_scale: dict[str, list[str]] = {}
    for group in cells:
        by_scale.setdefault(scale(group), []).append(titles[group[0].setting])
    named = "; ".join(f"{badge} {', '.join(dict.fromkeys(names))}" for badge, names in by_scale.items())
    warning = f" {SMOKE}." if any(group[0].preset == "smoke" for group in cells) else ""
    parts = [f"<summary>{named or 'Notes and data'}{warning}</summary>"]
    parts += [note] * bool(note)
    if cells:
        head = "".join(
            f'<th scope="col">{name}</th>'
            for name in ("setting", "preset", "networks", "test images", "measured on", "code", "data")
        )
        rows = "\n".join(_row(group, titles) for group in cells)
        parts.append(
            f'<div class="grid" tabindex="0"><table class="table"><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n'
            "</tbody></table></div>"
        )
        parts.append("Made anew by " + ", ".join(f"`{line}`" for line in _remade(cells)) + ".")
    parts += [f"The same as data: {downloads}."] * bool(downloads)
    return '<details class="origin">\n' + "\n\n".join(parts) + "\n\n</details>\n"


def _row(group: list[Result], titles: dict[str, str]) -> str:
    images = f"{count:,}" if (count := test_images(group[0])) else "–"
    devices = " and ".join(sorted(set(map(_machine, group))))
    code, data = (
        " ".join(f"<code>{digest[:8]}</code>" for digest in sorted({str(one.provenance[key]) for one in group}))
        for key in ("code_sha256", "data_sha256")
    )
    cells = (group[0].preset, f"{len(group)}", images, devices, code, data)
    name = f'<th scope="row">{titles[group[0].setting]}</th>'
    return f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _machine(one: Result) -> str:
    """What a result was computed on: on another kind of processor the same seed is another network."""
    device = str(one.provenance["device"]).replace(" 1 threads", " 1 thread")
    kind = one.provenance.get("processor", "of a kind not recorded")
    return f"{device} {kind}" if device.startswith("CPU") else device


def _remade(cells: list[list[Result]]) -> list[str]:
    """The commands that compute the results again, one a chapter and preset."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for group in cells:
        wanted.setdefault((group[0].chapter, group[0].preset), []).append(group[0].setting)
    return [
        f"nss run {chapter} -p preset={preset} -p setting={','.join(dict.fromkeys(settings))}"
        for (chapter, preset), settings in wanted.items()
    ]


def test_images(result: Result) -> int:
    """How many test images an accuracy was measured on; 0 where an older result does not say."""
    counts = [row["images"] for row in result.tables.get("base", []) if "images" in row]
    if counts:
        return sum(counts) if result.chapter == "pilot_categorywise" else counts[0]
    if result.chapter == "rq4_incremental":  # those of one task
        return 0
    return result.provenance["setting"].get("test_size", 0)
