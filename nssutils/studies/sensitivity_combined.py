"""The open readings of slicing in every combination, by the size of the slices that they lead to."""

import itertools
from dataclasses import replace

from torch import Tensor, nn

from nssutils import slicing
from nssutils.settings import Setting
from nssutils.studies import common, scores

# How the ranked neurons are scanned for the shortest run that will do. Reading -> its values, this book's first.
SCANS: dict[str, tuple[str, ...]] = {
    "CKA": ("centred", "as printed"),
    "images for the CKA": ("256", "64", "1000"),
    "step": ("1", "4", "16"),
    "crossing": ("first", "last"),
}
TOLERANCES = (0.005, 0.03)  # accuracy on training images that a slice may cost: RQ2's and RQ3's

ByLayer = dict[str, Tensor]


def measure(
    net: nn.Module, x: Tensor, y: Tensor, variants: dict[tuple[str, str], ByLayer], setting: Setting
) -> list[dict]:  # fmt: skip
    """Rows (metric, variant, CKA, images for the CKA, step, crossing, tolerance, at, compression_rate, loss): of each
    combination's slices that which leaves out the most while it costs at most the tolerance on training images.

    variants: contributions {(metric, which): {layer: (n_classes, width)}}.
    """
    rankings = scores.orders(variants)
    # At smoke two values of each reading will do to see that all is well.
    values = {name: each[:2] if setting.preset == "smoke" else each for name, each in SCANS.items()}
    slices = {}
    for printed, samples in itertools.product(values["CKA"], values["images for the CKA"]):
        curves = slicing.similarity_curves(
            net, x, y, rankings, None, int(samples), centred=printed == SCANS["CKA"][0]
        )  # fmt: skip
        for step, crossing in itertools.product(values["step"], values["crossing"]):
            scan = dict(zip(SCANS, (printed, samples, step, crossing), strict=True))
            for variant, curve in curves.items():
                for theta in thetas(setting):
                    slices[variant, *scan.values(), theta] = scanned(curve, rankings[variant], theta, scan)
    rows, weighed = [], _weighed(net, slices, setting, x, y)
    for key, group in itertools.groupby(weighed, key=lambda one: one[0][:-1]):
        (metric, which), *scan = key
        found = [candidate for _, candidate in group]
        for tolerance in TOLERANCES:
            best = common.optimal(found, tolerance)
            rows.append(
                {"metric": metric, "variant": which}
                | dict(zip(SCANS, scan, strict=True))
                | {"tolerance": tolerance, "at": best.theta}
                | {"compression_rate": best.compression_rate, "loss": best.loss}
            )
    return rows


def _weighed(net: nn.Module, slices: dict, setting: Setting, x: Tensor, y: Tensor) -> list[tuple]:
    """(key, candidate) for each slice; equal slices, of which there are many, are weighed once."""
    as_bytes = {key: b"".join(mask.numpy().tobytes() for mask in one.masks.values()) for key, one in slices.items()}
    different = {(as_bytes[key], 0.0): one for key, one in slices.items()}
    weighed = {one.metric: one for one in common.weighed(net, different, setting, x, y)}
    return [
        (key, replace(weighed[as_bytes[key]], metric=key[0][0], theta=key[-1], critical=one))
        for key, one in slices.items()
    ]


def scanned(curve: ByLayer, order: ByLayer, theta: float, scan: dict[str, str]) -> slicing.Slice:
    """The semantic slice at a threshold, by a CKA curve and a ranking, scanned with given values of SCANS."""
    if scan["crossing"] == "last":
        curve = {name: for_good(one) for name, one in curve.items()}
    return slicing.at_theta(curve, order, theta, int(scan["step"]))


def for_good(curve: Tensor) -> Tensor:
    """A CKA curve (n_classes, width) that reaches a threshold where the given one does so for good: the lowest of what
    follows."""
    return curve.flip(1).cummin(1).values.flip(1)


def thetas(setting: Setting) -> tuple[float, ...]:
    """The thresholds of the slices among which is chosen."""
    return common.THETAS[::3] if setting.preset == "smoke" else common.CANDIDATE_THETAS
