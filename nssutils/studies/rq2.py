"""RQ2 (Section 5.3): does slicing first make pruning more effective? And what a smaller network saves. Table 4."""

import copy
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from tqdm import tqdm

from nssutils import costs, data, graphs, neurons, pruning, restructuring, training
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import answers, common, parts

TAUS = (0.001, 0.003, 0.01)  # accuracy that pruning may cost: the paper prints no stop rule, only where it stopped
STRIDE = 4  # steps between two looks at the accuracy; where it crosses a limit, each step between is looked at
MOST = 0.99  # compression at which a run ends that has cost nothing until then
GENEROUS = 0.05  # accuracy given up for the second slice whose savings are measured


@dataclass(frozen=True)
class Run:
    """One way to prune: a pruner on the whole network, or on the extracted slice."""

    method: str
    start: nn.Module
    pruner: str
    share: float  # of the surviving weights, that each step prunes
    total: int  # weights of the whole network, against which compression counts

    def compression_rate(self, step: int) -> float:
        """Of a step, by Table 4's law: the rounding of each step to whole weights is left out."""
        return 1 - pruning.survivors(self.start) / self.total * (1 - self.share) ** step

    def walk(self) -> Iterator[nn.Module]:
        """The network after each step, from none on: the same object, pruned on."""
        net = copy.deepcopy(self.start)
        while True:
            yield net
            pruning.prune(net, self.pruner, self.share)


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, tolerance: float = 0.005, finetune: int = 1,
    spatial: str = "mean", centred: bool = True, samples: int = 256, taylor_batch: int = 256,
) -> dict:  # fmt: skip
    """Four pruners on the whole network and on the slice, until more than tau accuracy is lost on training images, for
    each tau of TAUS. Each pruner is kept as it is done.

    Tables: base (accuracy, parameters, images, right); slices (tolerance, metric, theta, …), the first being the one
    pruned; pruned (method, tau, iterations, compression_rate, accuracy, right), where each method stopped; finetuned
    (method, images, epochs, accuracy): what training what survived the largest tau makes of it, on the scored images;
    steps (method, step, compression_rate, train_accuracy, accuracy), those looked at, null where not measured: test
    accuracy at the start, at each stop, and on either side of where the counterpart stopped; savings (tolerance,
    variant, parameters, bytes, flops, seconds for one image and for 256). Compression counts the weights of Linear and
    Conv2d, as pruners do. `right` as in rq1.measure.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    test = loaded.x_test.to(training.device()), loaded.y_test
    readings = dict(spatial=spatial, centred=centred, samples=samples, taylor_batch=taylor_batch)
    found = common.candidates(net, setting, x, y, **readings)
    kinds = [(tolerance, common.optimal(found, tolerance)), (GENEROUS, common.optimal(found, GENEROUS))]
    small = restructuring.extract(net, kinds[0][1].critical)
    judged = common.judged_images(setting, x, y)
    whole = training.evaluate(net, *judged, reduced=setting.reduced_evaluation)
    floors = {tau: whole - tau for tau in TAUS}
    share = 0.10 if setting.name == "mlp-mnist" else 0.05  # of the surviving weights, worked out from Table 4
    base = training.correct(net, *test, reduced=setting.reduced_evaluation)

    def pruned(pruner: str) -> dict[str, list[dict]]:
        """Rows of the tables pruned, finetuned and steps, of the whole network and of the slice."""
        tables: dict[str, list[dict]] = {"pruned": [], "finetuned": [], "steps": []}
        pair = [
            Run(method, start, pruner, share, pruning.survivors(net))
            for method, start in ((pruner, net), (f"nss+{pruner}", small))
        ]
        courses = [_course(run, floors, judged, setting) for run in pair]
        sides = zip(pair, courses, reversed(pair), reversed(courses), strict=True)
        for run, (looked_at, stops), other, (_, its_stops) in sides:
            beside = {step for at in its_stops.values() for step in _around(run, other, at)}
            rows = _tested(run, {0, *stops.values(), *beside}, stops, (x, y), test, base, setting, seed, finetune)
            for name, table in rows.items():
                if name != "tests":
                    tables[name] += table
            for step in sorted({*looked_at, *rows["tests"]}):
                rate, accuracy = rows["tests"].get(step, (run.compression_rate(step), None))
                tables["steps"].append(
                    {"method": run.method, "step": step, "compression_rate": rate}
                    | {"train_accuracy": looked_at.get(step), "accuracy": accuracy}
                )
        return tables

    tables: dict[str, list[dict]] = {}
    key = parts.key(net, setting, seed, loaded, tolerance=tolerance, finetune=finetune, **readings)
    for pruner in tqdm(pruning.PRUNERS, desc="pruning", unit="pruner", file=sys.stderr, mininterval=2):
        parts.add(tables, "studies.rq2.measure", [*key, pruner], partial(pruned, pruner))
    return {
        "base": [common.base(net, base)],
        "slices": [
            {"tolerance": given}
            | common.described(one)
            | {"accuracy": common.sliced_correct(net, one.critical, *test, setting).double().mean().item()}
            for given, one in kinds
        ],
        **tables,
        "savings": [row for given, one in kinds for row in _savings(net, given, one.critical, test[0])],
    }


def _course(
    run: Run, floors: dict[float, float], judged: tuple[Tensor, Tensor], setting: Setting
) -> tuple[dict[int, float], dict[float, int]]:
    """Accuracy on the judged images {step: accuracy} at the steps looked at, and where each tau stops {tau: step}: at
    the last step before the first seen to lose too much; at the start where that already does.

    Every STRIDE-th step is looked at; where the accuracy has crossed a floor since the last look, those between too.
    """
    looked_at: dict[int, float] = {}
    passed: list[tuple[int, dict[str, Tensor]]] = []  # steps since the last look, and what survived them

    def look(step: int, net: nn.Module) -> float:
        looked_at[step] = training.evaluate(net, *judged, reduced=setting.reduced_evaluation)
        return looked_at[step]

    before = 1.0
    for step, net in enumerate(run.walk()):
        last = run.compression_rate(step) > MOST
        if step % STRIDE and not last:
            passed.append((step, pruning.masks(net)))
            continue
        now = look(step, net)
        if any(before >= floor > now for floor in floors.values()):
            for between, survived in passed:
                look(between, pruning.apply(copy.deepcopy(run.start), survived))
        before, passed = now, []
        if last or now < min(floors.values()):
            break
    stops = {}
    for tau, floor in floors.items():
        good = 0
        for step in sorted(looked_at):
            if looked_at[step] < floor:
                break
            good = step
        stops[tau] = good
    return looked_at, stops


def _around(run: Run, other: Run, at: int) -> tuple[int, int]:
    """The run's steps on either side of the compression that the other one has at step `at`; its start where it begins
    above that."""
    step, rate = 0, other.compression_rate(at)
    while run.compression_rate(step + 1) < rate:
        step += 1
    return step, step + 1


def _tested(
    run: Run, wanted: Iterable[int], stops: dict[float, int], scored: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor], base: Tensor, setting: Setting, seed: int, finetune: int,
) -> dict:  # fmt: skip
    """Walk once more, measuring on test images at the wanted steps: tests {step: (compression rate, accuracy)}, and
    rows of the tables pruned and finetuned."""
    tests, pruned, finetuned = {}, [], []
    for step, net in enumerate(run.walk()):
        if step in wanted:
            right = training.correct(net, *test, reduced=setting.reduced_evaluation)
            rate = 1 - pruning.survivors(net) / run.total
            row = answers.row(right, base)
            tests[step] = rate, row["accuracy"]
            for tau in (tau for tau, at in stops.items() if at == step):
                pruned.append({"method": run.method, "tau": tau, "iterations": step, "compression_rate": rate} | row)
            if finetune and step == stops[max(stops)]:
                accuracy = _finetuned(run.start, pruning.masks(net), *scored, *test, setting, seed, finetune)
                row = {"method": run.method, "images": len(scored[1]), "epochs": finetune, "accuracy": accuracy}
                finetuned.append(row)
        if step >= max(wanted):
            return {"tests": tests, "pruned": pruned, "finetuned": finetuned}


def _finetuned(start, masks, x, y, x_test, y_test, setting: Setting, seed: int, epochs: int) -> float:
    """Test accuracy after training what survived for some epochs over images x."""
    net = pruning.apply(copy.deepcopy(start), masks)
    training.fit(
        net, x, y, epochs=epochs, batch_size=setting.batch_size, optimizer=setting.optimizer, lr=setting.lr / 10,
        weight_decay=setting.weight_decay, label_smoothing=setting.label_smoothing, augment=setting.augment,
        reduced=setting.reduced, seed=seed, label="fine-tune",
    )  # fmt: skip
    return training.evaluate(net, x_test, y_test, reduced=setting.reduced_evaluation)


def _savings(net: nn.Module, tolerance: float, critical, x: Tensor) -> list[dict]:
    """What the whole, the masked and the extracted network take."""
    small, folded = (restructuring.extract(net, critical, fold=fold) for fold in (False, True))
    few, many = x[:1], x[:256]
    with neurons.masked(graphs.trace(net), critical) as masked:
        nets = {"whole": net, "masked": masked, "extracted": small, "folded": folded}
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
