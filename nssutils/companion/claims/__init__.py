"""The ledger of claims: each claim of data/paper/claims.yaml, judged by the results at hand.

`ledger` has a row for each claim and setting, `overall` one for each claim. The rules are in `rules`, what a claim is
judged by in `slicing`, `maintenance` and `peers`, one function a kind of claim; `shown`, `answers` and `drawn` are what
the book has of it.
"""

from nssutils.companion.claims import answers, drawn, rules, shown
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
    "JOINTLY", "Claim", "ClaimError", "answers", "at_hand", "at_preset", "claims", "drawn", "get", "ledger", "measured",
    "overall", "published", "rules", "shown",
]  # fmt: skip
