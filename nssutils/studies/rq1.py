"""RQ1 (Section 5.2): how accurate a network is with only its critical neurons, selected in three ways. Fig. 5."""

import sys
from collections.abc import Sequence

from torch import Tensor, nn
from tqdm import tqdm

from nssutils import contribution, data, deeparc, graphs, slicing, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, common, parts, scores

# The paper's steps of 10%, and smaller ones near the whole: a straight line between two points at 90% and 100% is off
# by as much as the leads that are told of a compression of 10%.
SHARES = (*(round(0.1 * i, 1) for i in range(1, 10)), 0.925, 0.95, 0.975, 1.0)
TIMED = 500  # images on which the metrics of a convolutional network are timed; of an MLP, all that are scored


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, spatial: str = "mean", centred: bool = True, samples: int = 256,
    taylor_batch: int = 256,
) -> dict:  # fmt: skip
    """Compression rate and accuracy of every slice of Fig. 5, DeepArc's included, and the time each metric takes.

    Taylor's scores add up over batches of at most `taylor_batch` images of one class. Tables: base (accuracy,
    parameters, images, right); points (method, metric, at, compression_rate, accuracy, right), `at` being theta or the
    top share; layers (metric, layer, share): what the slice at theta 0.95 keeps; deeparc (unit, similarity) for
    consecutive units; removed (threshold, units, compression_rate, accuracy, right); seconds (metric, images, seconds),
    each metric computed by itself. `right` says which test images are recognised: answers.unpacked(text, images), with
    the base's as its base in the other tables.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    x_test, y_test = loaded.x_test.to(training.device()), loaded.y_test
    readings = dict(spatial=spatial, centred=centred, samples=samples, taylor_batch=taylor_batch)
    slices = selections(scores.of(net, x, y, **readings))
    base = training.correct(net, x_test, y_test, reduced=setting.reduced_evaluation)
    apart = _deeparc(net, x[: deeparc.BATCH], x_test, y_test, base, setting)  # first, as it may refuse
    found: dict[str, list[dict]] = {}
    for metric in contribution.METRICS:

        def judged(metric=metric) -> dict:
            own = {key: one for key, one in slices.items() if key[1] == metric}
            points, layers = accuracies(net, own, x_test, y_test, base, setting)
            return {"points": points, "layers": layers}

        key = parts.key(net, setting, seed, loaded, metric=metric, **readings)
        parts.add(found, "studies.rq1.measure", key, judged)
    return {
        "base": [common.base(net, base)],
        **found,
        **apart,
        "seconds": _seconds(net, x, y, setting, taylor_batch),
    }


def selections(
    found: scores.Scores, metrics: Sequence[str] = contribution.METRICS
) -> dict[tuple[str, str, float], slicing.Slice]:  # fmt: skip
    """Every slice of Fig. 5 by method, metric, and theta or the top share."""
    whole, slices = found.whole(), {}
    for metric in metrics:
        for theta in common.THETAS:
            slices["semantic", metric, theta] = found.semantic(metric, theta)
        for share in SHARES:
            slices["global", metric, share] = slicing.top_share(whole[metric], share)
            slices["category-wise", metric, share] = slicing.top_share(found.orders[metric], share)
    return slices


def accuracies(
    net: nn.Module, slices: dict[tuple[str, str, float], slicing.Slice], x_test: Tensor, y_test: Tensor, base: Tensor,
    setting: Setting,
) -> tuple[list[dict], list[dict]]:  # fmt: skip
    """The tables points and layers of `measure`; base: which images the whole network recognises."""
    points, layers, traced = [], [], graphs.trace(net)
    for (method, metric, at), one in tqdm(slices.items(), desc="slices", unit="slice", file=sys.stderr, mininterval=2):
        right = common.sliced_correct(net, one, x_test, y_test, setting)
        rate = one.compression_rate(traced)
        points.append(
            {"method": method, "metric": metric, "at": at, "compression_rate": rate} | answers.row(right, base)
        )
        if (method, at) == ("semantic", 0.95):
            layers += [
                {"metric": metric, "layer": name, "share": mask.double().mean().item()}
                for name, mask in one.masks.items()
            ]
    return points, layers


def _deeparc(net: nn.Module, batch: Tensor, x_test: Tensor, y_test: Tensor, base: Tensor, setting: Setting) -> dict:
    """DeepArc at its threshold of 0.99 and at 0.95, to which the paper lowers it for AlexNet; nothing is retrained."""
    found = deeparc.units(net)
    alike = deeparc.similarities(net, batch)
    removed = []
    for threshold in (0.99, 0.95):
        gone = deeparc.redundant(found, alike, threshold)
        slim = deeparc.remove(net, gone, batch)
        # A sewing layer can be larger than what it replaces; it then compresses nothing.
        rate = max(0.0, 1 - count_parameters(slim) / count_parameters(net))
        right = training.correct(slim, x_test, y_test, reduced=setting.reduced_evaluation)
        removed.append(
            {"threshold": threshold, "units": len(gone), "compression_rate": rate} | answers.row(right, base)
        )  # fmt: skip
    pairs = [{"unit": unit.name, "similarity": value} for unit, value in zip(found[1:], alike, strict=True)]
    return {"deeparc": pairs, "removed": removed}


def _seconds(net: nn.Module, x: Tensor, y: Tensor, setting: Setting, taylor_batch: int) -> list[dict]:
    """Time to compute each metric, by itself, for every layer and class."""
    few = data.first_per_class(y, len(y) if setting.model == "mlp" else TIMED // setting.n_classes)
    rows = []
    for metric in contribution.METRICS:
        start = common.clock()
        contribution.score(net, x[few], y[few], (metric,), n_classes=setting.n_classes, batch_size=taylor_batch)
        rows.append({"metric": metric, "images": len(few), "seconds": round(common.clock() - start, 3)})
    return rows
