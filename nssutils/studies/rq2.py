"""RQ2 (Section 5.3): does slicing first make pruning more effective? And what a smaller network saves. Table 4."""

import copy
import sys
from collections.abc import Iterator

from torch import Tensor, nn
from tqdm import tqdm

from nssutils import costs, data, neurons, pruning, restructuring, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common

TAU = 0.01  # accuracy that pruning may cost: the paper prints no stop rule, only where it stopped
MOST = 0.99  # compression at which a run ends that has cost nothing until then
GENEROUS = 0.05  # accuracy given up for the second slice whose savings are measured


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, tolerance: float = 0.005, tau: float = TAU, finetune: int = 1,
    spatial: str = "mean", centred: bool = True, samples: int = 256,
) -> dict:  # fmt: skip
    """Four pruners on the whole network and on the slice, until more than `tau` accuracy is lost on training images.

    Tables: base (accuracy, parameters); slices (tolerance, metric, theta, …), the first being the one pruned; pruned
    (method, iterations, compression_rate, accuracy, finetuned), where each method stopped and what `finetune` epochs
    over the scored images make of it; steps (method, step, compression_rate, accuracy): each method's whole course, at
    least as far as its counterpart came; savings (tolerance, variant, parameters, bytes, flops, seconds for one image
    and for 256). Compression counts the weights of Linear and Conv2d, as pruners do.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    x_test, y_test = loaded.x_test.to(training.device()), loaded.y_test.to(training.device())
    found = common.candidates(net, setting, x, y, spatial, centred, samples)
    chosen = common.optimal(found, tolerance)
    small = restructuring.extract(net, chosen.critical)
    judged = common.judged_images(setting, x, y)
    floor = training.evaluate(net, *judged) - tau
    share = 0.10 if setting.name == "mlp-mnist" else 0.05  # of the surviving weights, worked out from Table 4
    total = pruning.survivors(net)

    pruned, steps = [], []
    bar = tqdm(desc="pruning", unit="step", file=sys.stderr, mininterval=2)
    for pruner in pruning.PRUNERS:
        pair = {}
        for method, start in ((pruner, net), (f"nss+{pruner}", small)):
            walk = _walk(start, pruner, share, total, judged, (x_test, y_test))
            pair[method] = {"start": start, "walk": walk, "rows": [next(walk)]}
            while not _stopped(pair[method]["rows"], floor):
                pair[method]["rows"].append(next(walk))
                bar.update()
        furthest = max(_last(run["rows"], floor)["compression_rate"] for run in pair.values())
        for method, run in pair.items():
            while run["rows"][-1]["compression_rate"] < furthest:
                run["rows"].append(next(run["walk"]))
                bar.update()
            last = _last(run["rows"], floor)
            pruned.append(
                {
                    "method": method,
                    "iterations": last["step"],
                    "compression_rate": last["compression_rate"],
                    "accuracy": last["accuracy"],
                    "finetuned": _finetuned(run["start"], last["masks"], x, y, x_test, y_test, setting, seed, finetune),
                }
            )
            kept = ("step", "compression_rate", "accuracy")
            steps += [{"method": method} | {key: row[key] for key in kept} for row in run["rows"]]
    bar.close()
    kinds = [(tolerance, chosen), (GENEROUS, common.optimal(found, GENEROUS))]
    return {
        "base": [{"accuracy": training.evaluate(net, x_test, y_test), "parameters": count_parameters(net)}],
        "slices": [
            {"tolerance": given}
            | common.described(one)
            | {"accuracy": common.masked_accuracy(net, one.critical, x_test, y_test)}
            for given, one in kinds
        ],
        "pruned": pruned,
        "steps": steps,
        "savings": [row for given, one in kinds for row in _savings(net, given, one.critical, x_test)],
    }


def _walk(
    start: nn.Module, pruner: str, share: float, total: int, judged: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> Iterator[dict]:
    """A copy of a network after each step of pruning, from none on; compression against `total` weights."""
    net, step = copy.deepcopy(start), 0
    while True:
        yield {
            "step": step,
            "compression_rate": 1 - pruning.survivors(net) / total,
            "accuracy": training.evaluate(net, *test),
            "train_accuracy": training.evaluate(net, *judged),
            "masks": pruning.masks(net),
        }
        pruning.prune(net, pruner, share)
        step += 1


def _stopped(rows: list[dict], floor: float) -> bool:
    return rows[-1]["train_accuracy"] < floor or rows[-1]["compression_rate"] > MOST


def _last(rows: list[dict], floor: float) -> dict:
    """The last step before the first that loses too much; the start where that already does."""
    good = 0
    while good + 1 < len(rows) and rows[good + 1]["train_accuracy"] >= floor:
        good += 1
    return rows[good]


def _finetuned(start, masks, x, y, x_test, y_test, setting: Setting, seed: int, epochs: int) -> float | None:
    """Test accuracy after training what survived for some epochs; None for none."""
    if not epochs:
        return None
    net = pruning.apply(copy.deepcopy(start), masks)
    training.fit(
        net, x, y, epochs=epochs, batch_size=setting.batch_size, optimizer=setting.optimizer, lr=setting.lr / 10,
        weight_decay=setting.weight_decay, augment=setting.augment, reduced=setting.reduced, seed=seed,
        label="fine-tune",
    )  # fmt: skip
    return training.evaluate(net, x_test, y_test)


def _savings(net: nn.Module, tolerance: float, critical, x: Tensor) -> list[dict]:
    """What the whole, the masked and the extracted network take."""
    small = restructuring.extract(net, critical)
    few, many = x[:1], x[:256]
    with neurons.masked(neurons.trace(net), critical) as masked:
        nets = {"whole": net, "masked": masked, "extracted": small}
        seconds = [costs.latency(nets, images) for images in (few, many)]
    return [
        {
            "tolerance": tolerance,
            "variant": name,
            "parameters": count_parameters(one),
            "bytes": costs.size(one),
            "flops": costs.flops(one, few),
            "seconds_1": seconds[0][name],
            "seconds_256": seconds[1][name],
        }
        for name, one in nets.items()
    ]
