"""A network of one's own: sliced, made smaller, repaired and extended. Beyond the paper, on networks that it does not
have, a transformer among them."""

import copy

import torch
from torch import Tensor, nn

from nssutils import costs, data, freezing, graphs, incremental, neurons, readaptation, restructuring, training
from nssutils.errors import NssError
from nssutils.models import count_parameters
from nssutils.settings import Setting
from nssutils.studies import common, rq1, scores

# Images of the training set for a repair, and as many of the new classes.
IMAGES = {"smoke": 400, "quick": 2_000, "overnight": 5_000, "paper": 10_000}
EPOCHS = 4
CALIBRATED = 500  # images on which the strength of the attack is chosen


def measure(
    setting: Setting, seed: int, loaded: data.Data, *, metric: str = "deeplift", theta: float = 0.95
) -> dict:  # fmt: skip
    """RQ1's curves for the two metrics that look at the output; by the semantic slice of `metric` at `theta` what is
    left, repaired and extended.

    Tables: base, points, layers as RQ1's (rq1.measure); shrunk (`shrunk`), repaired (`repaired`); extended
    (`extended`), of a network trained on the first half of the classes, by its own slice.
    """
    net = training.trained(setting, seed, loaded)
    x, y = common.scored_images(setting, loaded)
    x_test, y_test = loaded.x_test.to(training.device()), loaded.y_test
    found = scores.of(net, x, y)
    critical = found.semantic(metric, theta)
    base = training.correct(net, x_test, y_test, reduced=setting.reduced_evaluation)
    slices = rq1.selections(found, common.CANDIDATE_METRICS)
    points, layers = rq1.accuracies(net, slices, x_test, y_test, base, setting)
    some = data.first_per_class(loaded.y_train, common.sized(IMAGES, setting) // setting.n_classes)
    x_some, y_some = (part[some].to(training.device()) for part in (loaded.x_train, loaded.y_train))
    return {
        "base": [common.base(net, base)],
        "points": points,
        "layers": layers,
        "shrunk": [{"metric": metric, "theta": theta} | shrunk(net, critical, x_test, y_test)],
        "repaired": repaired(net, critical, (x_some, y_some), (x_test, y_test), seed=seed),
        "extended": _extended(setting, seed, loaded, metric, theta),
    }


def shrunk(net: nn.Module, critical, x: Tensor, y: Tensor) -> dict:
    """What extraction leaves: parameters and operations of an image, before and after, and the accuracy on images x
    (N, ...) with labels y of the network and of what is extracted."""
    small = restructuring.extract(net, critical, x=x[:2])
    row = {}
    for name, each in (("", net), ("_left", small)):
        row |= {
            f"parameters{name}": count_parameters(each),
            # Without what attention multiplies within: so were the published results measured.
            f"operations{name}": costs.flops(each, x[:1], kernels=False),
            f"accuracy{name}": training.evaluate(each, x, y),
        }
    return row


def repaired(
    net: nn.Module, critical, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], epochs: int = EPOCHS,
    lr: float = 1e-3, seed: int = 0,
) -> list[dict]:  # fmt: skip
    """Section 4.2 on any network: rows (way, trained, accuracy, attacked) before a repair, after one of all parameters,
    and after one of those that connect critical neurons.

    train, test: images (N, ...) in [0, 1] with labels (N,). The attack is FGSM, as strong as leaves the network half of
    its accuracy on training images; `attacked` is the accuracy on test images attacked before the repair; `trained` the
    share of parameters. Raises NssError for images outside [0, 1].
    """
    (x, y), (x_test, y_test) = train, test
    readaptation.check_images(x)
    few = x[:CALIBRATED], y[:CALIBRATED]
    eps = readaptation.calibrate(readaptation.fgsm, net, *few, training.evaluate(net, *few) / 2)
    adversarial, attacked = readaptation.fgsm(net, x, y, eps), readaptation.fgsm(net, x_test, y_test, eps)
    ways = {"before": {}, "all": freezing.whole(net), "critical": freezing.connecting(net, critical, x[:2])}
    rows = []
    for way, elements in ways.items():
        learner = copy.deepcopy(net)
        readaptation.repair(learner, x, adversarial, y, elements, epochs=epochs, lr=lr, seed=seed)
        accuracy, robust = (training.evaluate(learner, images, y_test) for images in (x_test, attacked))
        share = freezing.count(elements) / count_parameters(net)
        rows.append({"way": way, "eps": eps, "trained": share, "accuracy": accuracy, "attacked": robust})
    return rows


def extended(
    net: nn.Module, critical, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], new_test: tuple[Tensor, Tensor],
    epochs: int = EPOCHS, lr: float = 1e-3, batch_size: int = 32, seed: int = 0,
) -> list[dict]:  # fmt: skip
    """Section 4.3 on any network that gives logits: rows (way, trained, old, old_told, new) after it has learned new
    classes by all parameters, and by those that its slice does not need.

    old: test images (N, ...) and labels of the classes that it knows, 0 to its number of outputs - 1; new, new_test:
    images to learn and to test by, with labels from there on. Nothing is replayed. Accuracies: `old` and `new` among
    all classes; `old_told` among the old ones, with the slice's mask on where there is one. Raises NssError for labels
    that are not new.
    """
    with torch.no_grad(), neurons.evaluating(net):
        known = net(new[0][:2]).shape[1]
    count = int(max(new[1].max(), new_test[1].max())) + 1 - known
    if int(new[1].min()) < known or count < 1:
        raise NssError(
            f"labels from {int(new[1].min())} to {int(new[1].max())} given for new classes, expected {known} and up: "
            f"the network knows {known} classes, from 0 on."
        )
    torch.manual_seed(seed)
    like, classes = new[0][:2], torch.arange(known)
    wide = incremental.widened(net, count, like)
    free = incremental.trainable(wide, critical, classes, known + count, x=like)
    rows = []
    for way, elements, mask in (("all", freezing.whole(wide), {}), ("outside", free, critical)):
        learner = copy.deepcopy(wide)
        incremental.learn(
            learner, *new, elements, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed,
            statistics=freezing.norms(wide, elements),
        )  # fmt: skip
        row = {"way": way, "trained": freezing.count(elements) / count_parameters(wide)}
        row |= {"old": training.evaluate(learner, *old), "new": training.evaluate(learner, *new_test)}
        with neurons.masked(graphs.trace(learner, like), mask) as read:
            row["old_told"] = incremental.accuracy(read, *old, classes)
        rows.append(row)
    return rows


def _extended(setting: Setting, seed: int, loaded: data.Data, metric: str, theta: float) -> list[dict]:
    """`extended`, from the first half of the setting's classes to all."""
    tasks = incremental.split(setting.n_classes, "first")
    net = incremental.of_task(training.trained(setting, seed, incremental.only(loaded, tasks[0])), tasks[0])
    x, y = common.scored_images(setting, loaded)
    mine = incremental.samples(y, tasks[0])
    critical = scores.of(net, x[mine], y[mine]).semantic(metric, theta)
    some = data.first_per_class(loaded.y_train, 2 * common.sized(IMAGES, setting) // setting.n_classes)
    some = some[incremental.samples(loaded.y_train[some], tasks[1])]
    x_new, y_new = (part[some].to(training.device()) for part in (loaded.x_train, loaded.y_train))
    tests = [incremental.samples(loaded.y_test, task) for task in tasks]
    old, new_test = ((loaded.x_test[each].to(training.device()), loaded.y_test[each]) for each in tests)
    return extended(net, critical, old, (x_new, y_new), new_test, seed=seed)
