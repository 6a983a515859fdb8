"""The ledger of claims: each claim of data/paper/claims.yaml, judged by the results at hand.

`ledger` has a row for each claim and setting, `overall` one for each claim. The rules are in `rules`, what a claim is
judged by in `slicing`, `maintenance` and `peers`, one function a kind of claim; `shown`, `answers` and `drawn` are what
the book has of it; `control` is what the rules make of the paper's own tables.
"""

from nssutils.companion.claims import answers, control, drawn, rules, shown
from nssutils.companion.claims.judging import (
    JOINTLY,
    Claim,
    ClaimError,
    at_hand,
    at_preset,
    claims,
    get,
    ledger,
    measured,
    overall,
    published,
)  # fmt: skip

__all__ = [
    "JOINTLY", "Claim", "ClaimError", "answers", "at_hand", "at_preset", "claims", "control", "drawn", "get", "ledger",
    "measured", "overall", "published", "rules", "shown",
]  # fmt: skip
