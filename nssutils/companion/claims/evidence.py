"""What a claim is judged by: the results at hand, as those of one setting or of all together."""

from collections.abc import Mapping
from dataclasses import dataclass

from nssutils import settings
from nssutils.companion.fragments import paper_grid, peer_numbers
from nssutils.companion.results import Result
from nssutils.companion.tables.deeparc import PRINTED_FOR

# Whose base is the whole network's, on all classes.
BASES = ("rq1_slicing", "pilot_global", "rq2_restructuring", "rq3_readaptation", "nnslicer", "deeparc")


Numbers = list[float]  # what the paper's text prints, as a claim lists it


class Unmeasured(LookupError):
    """There are no results that a judge could look at."""


@dataclass(frozen=True)
class Evidence:
    """results: of every chapter; setting: the one that is judged, or None for all together."""

    results: Mapping[str, list[Result]]
    setting: str | None = None

    def group(self, chapter: str) -> list[Result]:
        """The chapter's results of the setting. Raises Unmeasured where there are none."""
        found = [one for one in self.results.get(chapter, []) if self.setting in (None, one.setting)]
        if not found:
            raise Unmeasured("what it speaks of")
        return found

    def settings(self, chapter: str) -> dict[str, list[Result]]:
        """The chapter's results by setting, whatever setting is judged. Raises Unmeasured where there are none."""
        found = self.results.get(chapter, [])
        by_setting = {name: [one for one in found if one.setting == name] for name in settings.KNOWN}
        if not found:
            raise Unmeasured("what it speaks of")
        return {name: group for name, group in by_setting.items() if group}

    def base_gap(self, chapter: str) -> float | None:
        """How much more accurate than the paper's the whole networks are that a chapter's results are of; the largest
        of the settings' where all are judged together; None where that is unknown, infinite for a network that a paper
        is judged by and does not have."""
        names = {one.setting for one in self.results.get(chapter, [])}
        gaps = [self._gap(chapter, name) for name in ([self.setting] if self.setting else sorted(names))]
        known = [gap for gap in gaps if gap is not None]
        return max(known, key=abs) if known else None

    def _gap(self, chapter: str, setting: str) -> float | None:
        presets = {one.preset for one in self.results.get(chapter, []) if one.setting == setting}
        for each in (chapter, *BASES) if chapter in BASES else BASES:
            group = [one for one in self.results.get(each, []) if one.setting == setting and one.preset in presets]
            if group:
                ours = sum(one.tables["base"][0]["accuracy"] for one in group) / len(group)
                theirs = printed_base(setting, chapter)
                return None if theirs is None else ours - theirs
        return None


def printed_base(setting: str, chapter: str = "") -> float | None:
    """The accuracy of the paper's network, as near as it prints it: the best that Table 4 has for the setting; in
    DeepArc's own chapter that of its ResNet-110, infinite for any other. None where none is printed."""
    if chapter == "deeparc":
        return peer_numbers("deeparc")["accuracy"] if setting == PRINTED_FOR else float("inf")
    return float(paper_grid(4, "MA").loc[setting].max()) / 100 if setting in settings.NAMES else None
