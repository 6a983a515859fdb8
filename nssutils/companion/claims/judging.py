"""The claims of data/paper/claims.yaml, and what becomes of them by the results at hand."""

import inspect
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import cache

import pandas as pd
import yaml

from nssutils import settings
from nssutils.companion import checksums, results, store
from nssutils.companion.claims import maintenance, peers, rules, slicing
from nssutils.companion.claims.evidence import Evidence, Unmeasured
from nssutils.companion.fragments import paper_number
from nssutils.companion.results import Result
from nssutils.errors import NssError, near_miss
from nssutils.studies import STUDIES

CLAIMS = results.DATA / "paper" / "claims.yaml"
FIELDS = ("id", "source", "section", "chapter", "shown", "claim", "unfailing")  # of a claim, that a ledger shows
JOINTLY = "all"  # in place of a setting, where a claim is about the settings together


class ClaimError(NssError):
    """A claim that is malformed, unknown, or that its judge cannot judge."""


@dataclass(frozen=True)
class Claim:
    """One entry of claims.yaml, whose head says what the fields are."""

    id: str
    source: str
    section: str
    chapter: str
    shown: str
    claim: str
    settings: tuple[str, ...]
    judge: str
    arguments: dict = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    jointly: bool = False
    unfailing: str = ""


@cache
def claims() -> dict[str, Claim]:
    """Every claim by its id, in the paper's order. Raises ClaimError naming the entry that is wrong, and how."""
    found: dict[str, Claim] = {}
    for entry in yaml.safe_load(CLAIMS.read_text()):
        name = entry.get("id", "one without an id")
        try:
            claim = Claim(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
        except TypeError as error:
            raise ClaimError(f"claim {name}: {error}.") from None
        if claim.id in found:
            raise ClaimError(f"claim {name}: its id is given twice.")
        if claim.chapter not in STUDIES:
            raise ClaimError(f"claim {name}: unknown chapter {claim.chapter!r}.{near_miss(claim.chapter, STUDIES)}")
        if unknown := set(claim.settings) - set(settings.KNOWN):
            raise ClaimError(f"claim {name}: unknown settings {', '.join(sorted(unknown))}.")
        found[claim.id] = claim
        _judge(claim)
    return found


def get(name: str) -> Claim:
    """A claim by its id. Raises ClaimError naming the near miss."""
    if name not in claims():
        raise ClaimError(f"unknown claim {name!r}.{near_miss(name, claims())}")
    return claims()[name]


def measured(claim: Claim) -> str:
    """What a claim's judge measures, in words: the first paragraph of its description."""
    return " ".join(inspect.getdoc(_judge(claim)).split("\n\n")[0].split())


def ledger(
    found: Mapping[str, list[Result]], chapter: str | None = None, shown: Container[str] | None = None
) -> pd.DataFrame:  # fmt: skip
    """A row for each claim (of a chapter; decided by some tables and figures) and setting: id, setting ("all" where a
    claim is about them together), verdict, tendency, ours, paper, networks, note (rules.Opinion), preset."""
    mine = [claim for claim in claims().values() if chapter in (None, claim.chapter)]
    mine = [claim for claim in mine if shown is None or claim.shown in shown]
    return pd.DataFrame([row for claim in mine for row in _judged(claim, found)])


def overall(judged: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim of a ledger: its fields, the verdict over its settings, in which of them it can be told
    (`where`), and of how many."""
    rows = []
    for name, mine in judged.groupby("id", sort=False):
        claim, where = get(name), tuple(mine["setting"][mine["verdict"].isin(rules.TOLD)])
        row = {field: getattr(claim, field) for field in FIELDS}
        row |= {"measured": measured(claim), "verdict": rules.weakest(mine["verdict"])}
        rows.append(row | {"where": where, "settings": len(mine)})
    return pd.DataFrame(rows)


def published() -> dict[str, list[Result]]:
    """The published results of every chapter, the highest preset of each setting."""
    return {chapter: results.published(chapter) for chapter in STUDIES}


def at_hand() -> dict[str, dict[str, list[Result]]]:
    """All results that claims can be judged by: the published ones, and those of each preset that there are any of."""
    found = {"published": published()} | {preset: at_preset(preset) for preset in settings.PRESETS}
    return {name: by_chapter for name, by_chapter in found.items() if any(by_chapter.values())}


def at_preset(preset: str) -> dict[str, list[Result]]:
    """The results of one preset at hand, this machine's before the published ones unless they do not stand."""
    found, checksum = {}, cache(checksums.of)
    for chapter in STUDIES:
        cells = {
            (chapter, preset, file.parent.name, int(seed[1]))
            for folder in (results.PUBLISHED, results.local())
            for file in (folder / chapter / preset).glob("*/seed*.json")
            if (seed := re.fullmatch(r"seed(\d+)\.json", file.name))  # of the default readings
        }
        read = [store.seen(cell, checksum)[1] for cell in sorted(cells)]
        found[chapter] = [results.presented(one) for one in read if one is not None]
    return found


def _judges() -> dict[str, Callable]:
    """Every judge by its name: what the three modules define for others to see."""
    return {
        name: judge
        for module in (slicing, maintenance, peers)
        for name, judge in vars(module).items()
        if inspect.isfunction(judge) and judge.__module__ == module.__name__ and not name.startswith("_")
    }


def _judge(claim: Claim) -> Callable:
    known = _judges()
    if claim.judge not in known:
        near = near_miss(claim.judge, known)
        raise ClaimError(f"claim {claim.id}: there is no judge {claim.judge!r}.{near}")
    return known[claim.judge]


def _judged(claim: Claim, found: Mapping[str, list[Result]]) -> list[dict]:
    rows = []
    found = {chapter: [one for one in group if one.setting in claim.settings] for chapter, group in found.items()}
    for setting in (JOINTLY,) if claim.jointly else claim.settings:
        evidence = Evidence(found, None if claim.jointly else setting)
        opinion = _opinion(claim, evidence)
        here = [one for one in found.get(claim.chapter, []) if claim.jointly or one.setting == setting]
        if claim.jointly and here:
            opinion = rules.of_all(opinion, len({one.setting for one in here}), len(claim.settings))
        presets = " and ".join(dict.fromkeys(one.preset for one in here))
        rows.append({"id": claim.id, "setting": setting} | vars(opinion) | {"preset": presets})
    return rows


def _opinion(claim: Claim, evidence: Evidence) -> rules.Opinion:
    try:
        numbers = [paper_number(name) for name in claim.numbers]
    except KeyError as error:
        raise ClaimError(f"claim {claim.id}: text_numbers.csv has no {error}.") from None
    try:
        opinion = _judge(claim)(evidence, numbers, **claim.arguments)
    except Unmeasured as error:
        return rules.Opinion(rules.UNTOLD, 0, "", note=f"{error} is not measured")
    except (KeyError, StopIteration, TypeError) as error:  # a table or column that is not there, or an argument
        raise ClaimError(
            f"claim {claim.id}: its judge {claim.judge} cannot judge {evidence.setting or 'the settings'} "
            f"({type(error).__name__}: {error})."
        ) from error
    return rules.guarded(opinion, evidence.base_gap(claim.chapter))
