"""Incremental development (Section 4.3): learn task B's classes after task A's without forgetting these (RQ4)."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn

from nssutils import data, freezing, graphs, neurons, operations, slicing, training
from nssutils.errors import NssError
from nssutils.samples import SampleError, check_range, checked, labels, whole

TASKS = ("first", "last")  # which half of the classes is task A


def split(n_classes: int, task_a: str) -> tuple[Tensor, Tensor]:
    """The classes of task A and of task B, int64: A is the first or the last half of all classes.

    The text says the first five; on Fashion-MNIST the paper's Table 6 fits the last five (see the chapter).
    """
    if task_a not in TASKS:
        raise NssError(f"task_a={task_a!r} given, expected 'first' or 'last'.")
    first, last = torch.arange(n_classes).split([n_classes // 2, n_classes - n_classes // 2])
    return (first, last) if task_a == "first" else (last, first)


def samples(y: Tensor, classes: Tensor) -> Tensor:
    """Indices of the samples with labels y (N,) that are of the given classes."""
    return torch.isin(labels(y, len(y)).cpu(), torch.as_tensor(classes)).nonzero()[:, 0]


def replayed(y: Tensor, classes: Tensor, share: float) -> Tensor:
    """Indices of the samples of the classes that replay stores: the first `share` of each class."""
    if not 0 <= share <= 1:
        raise NssError(f"share={share!r} given, expected one in [0, 1].")
    kept = [samples(y, one) for one in torch.as_tensor(classes)]
    return torch.cat([one[: round(share * len(one))] for one in kept]).sort().values


def accuracy(net: nn.Module, x: Tensor, y: Tensor, classes: Tensor | None = None, reduced: bool = False) -> float:
    """Accuracy in [0, 1]; with `classes`, all other logits suppressed, that is, with the task told."""
    return correct(net, checked(x), y, classes, reduced).double().mean().item()


def correct(
    net: nn.Module, x: Tensor, y: Tensor, classes: Tensor | None = None, reduced: bool = False
) -> Tensor:  # fmt: skip
    """Which images x with labels y (N,) are recognised, bool (N,), as `accuracy`; `reduced` as in training.logits."""
    x = checked(x) if len(x) else x
    logits, y = training.checked(training.logits(net, x, reduced=reduced)).cpu(), labels(y, len(x)).cpu()
    check_range(y, logits.shape[1])
    if classes is not None:
        logits = logits.masked_fill(~_among(classes, logits.shape[1]), -torch.inf)
    return logits.argmax(1) == y


def _among(classes, n_classes: int) -> Tensor:
    """Which of the classes 0 to n_classes - 1 are given, bool (n_classes,). Raises SampleError for one beyond."""
    among = torch.zeros(n_classes, dtype=torch.bool)
    try:
        among[torch.as_tensor(classes).cpu()] = True
    except IndexError as error:
        raise SampleError(f"classes {classes} given, expected some of 0 to {n_classes - 1}.") from error
    return among


def of_task(net: nn.Module, classes: Tensor, x: Tensor | None = None) -> nn.Module:
    """A copy of the network with the output layer's rows of the given classes only, in their order. `x` is an example,
    as in freezing.connecting. Raises NssError for an output layer whose weights are computed from others, and
    freezing.FreezingError where its outputs are mixed or moved behind it."""
    name, copied = freezing.head(net, x), graphs.copied(net)
    head = _head(copied, name)
    if getattr(head, "groups", 1) > 1:
        raise NssError(f"the output layer {name!r} is a convolution of groups, expected one whose rows stand alone.")
    known, classes = len(head.weight), torch.as_tensor(classes)
    try:
        chosen = torch.arange(known)[classes]
    except IndexError:
        chosen = torch.arange(0)
    if chosen.dim() != 1 or not len(chosen):
        raise NssError(f"classes {classes.tolist()} given, expected some of 0 to {known - 1}, each a row of {name!r}.")
    classes = chosen
    for own, p in head.named_parameters():
        setattr(head, own, nn.Parameter(p.detach()[classes.to(p.device)], p.requires_grad))
    setattr(head, "out_features" if isinstance(head, nn.Linear) else "out_channels", len(classes))
    if freezing.follows(net, x):
        _check_rows(net, copied, classes, len(classes), x)
    return copied


def _head(copied: nn.Module, name: str) -> nn.Module:
    """The output layer. Raises NssError where its weights are not a parameter of its own."""
    head = copied.get_submodule(name)
    if head._parameters.get("weight") is None:
        raise NssError(
            f"the weights of the output layer {name!r} are computed from others, as by a weight norm; expected a "
            "parameter 'weight': make them permanent first, by torch.nn.utils.parametrize.remove_parametrizations."
        )
    own = {id(p) for p in head.parameters()}
    shared = (other for other, module in copied.named_modules() if module is not head and module is not copied
              for p in module.parameters(recurse=False) if id(p) in own)  # fmt: skip
    if other := next(shared, None):
        raise NssError(
            f"the output layer {name!r} shares its weights with {other!r}, expected a layer of its own: with other "
            "rows the two would be apart."
        )
    return head


@torch.no_grad()
def _check_rows(net: nn.Module, copied: nn.Module, classes: Tensor, width: int, x: Tensor | None) -> None:
    """Raise FreezingError unless a copy's outputs are `width`, and those of the classes, which come first, as they were
    in the network: what stands behind the output layer may mix, move or cut them."""
    with neurons.evaluating(net), neurons.evaluating(copied):
        like = graphs.example(net) if x is None else x[:2]
        if x is None or like.is_floating_point():
            like = torch.rand(like.shape, generator=torch.Generator().manual_seed(0)).to(like.dtype)
        like = like.to(operations.device(net))
        try:
            before, after = net(like.clone()), copied(like.clone())
            off = f"they are {after.shape[1]}, expected {width}" if after.shape[1] != width else ""
            off = off or graphs.differ(before[:, classes], after[:, : len(classes)])
        except Exception as error:
            off = f"it fails with {type(error).__name__}: {error}"
    if off:
        raise freezing.FreezingError(
            f"the outputs of some rows are not those of the whole network ({off}): something behind the output layer "
            "mixes or moves them. Expected a network that returns the logits as that layer gives them."
        )


def widened(net: nn.Module, count: int, x: Tensor | None = None) -> nn.Module:
    """A copy of the network whose output layer has `count` more rows, for classes that it does not know yet, drawn as
    torch draws a new layer's; all others are as they were. `x` is an example, as in freezing.connecting.

    Raises NssError for an output layer that is not Linear, or whose weights are not its own, and FreezingError where
    its outputs are mixed, moved or cut behind it.
    """
    copied, name, count = graphs.copied(net), freezing.head(net, x), whole("count", count)
    old = _head(copied, name)
    if not isinstance(old, nn.Linear):
        raise NssError(f"the output layer {name!r} is a {type(old).__name__}, expected Linear, to give it more rows.")
    new = nn.Linear(old.in_features, old.out_features + count, old.bias is not None).to(old.weight)
    for own, known in old.named_parameters():
        mine = new.get_parameter(own).requires_grad_(known.requires_grad)
        mine.data[: old.out_features] = known.detach()
    graphs.put(copied, {name: new.train(old.training)})
    if freezing.follows(net, x):
        _check_rows(net, copied, torch.arange(old.out_features), new.out_features, x)
    return copied


def trainable(
    net: nn.Module, critical, task_a: Tensor, n_classes: int, replay: bool = False, x: Tensor | None = None
) -> dict[str, Tensor]:  # fmt: skip
    """What may change while task B is learned: {parameter: bool}, all that task A's logits, read with the slice's mask
    on, do not depend on; with `replay` also task A's rows of the output layer and batch normalisation.

    Frozen are the weights into critical neurons, their biases and batch normalisation, what makes a constant of other
    neurons, and A's rows of the head (freezing.determining, which says which networks are refused). `x` is an example,
    as in freezing.connecting.
    """
    rows = torch.zeros(n_classes, dtype=torch.bool) if replay else _among(task_a, n_classes)
    frozen = freezing.determining(net, critical, rows, x)
    if replay:
        norms = {name for name, module in net.named_modules() if isinstance(module, operations.BATCH_NORMS)}
        frozen = {name: mask for name, mask in frozen.items() if name.rpartition(".")[0] not in norms}
    return freezing.complement(net, frozen)


def learn(
    net: nn.Module, x: Tensor, y: Tensor, elements: freezing.Elements, *, epochs: int, batch_size: int,
    lr: float = 1e-3, seed: int = 0, reduced: bool = False, statistics: Mapping[str, Tensor] | None = None,
    critical=None, task_a: Tensor | None = None, balanced: bool = False,
) -> nn.Module:  # fmt: skip
    """Train the given elements in place on task B's images x (N, C, H, W) with labels y, replayed ones of task A among
    them: the loss is CE(x) over all classes (Section 4.3); AdamW, whose learning rate `lr` falls linearly to zero.
    `balanced` draws as many images of each class, however few are stored, instead of visiting each once an epoch.

    `statistics`: channels whose batch normalisation works as in training, as in freezing.tune. Given a slice,
    `critical`, and task A's classes, images of task A pass through the masked network in eval mode, as it is read.
    Gradients that there were are dropped.
    """
    x = checked(x)
    if critical is not None and task_a is None:
        raise NssError("a slice given without task_a, expected the classes whose samples pass through it, too.")
    layout = torch.channels_last if reduced and x.dim() == 4 else torch.contiguous_format
    net.to(memory_format=layout)
    x, y = (each.to(operations.device(net)) for each in (x, labels(y, len(x))))
    ours = torch.zeros(len(y), dtype=torch.bool) if critical is None else torch.isin(y.cpu(), torch.as_tensor(task_a))

    def loss(batch: Tensor) -> Tensor:
        images = x[batch].to(memory_format=layout)
        if critical is None:
            return training.cross_entropy(net(images), y[batch])
        old = ours.to(batch.device)[batch]
        logits = [net(images[~old])] if not old.all() else []
        if old.any():
            with neurons.evaluating(net):
                logits.append(masked(images[old]))
        return training.cross_entropy(torch.cat(logits), torch.cat([y[batch][~old], y[batch][old]]))

    with ExitStack() as while_it_learns:
        if critical is not None:
            few = x[:2].to(memory_format=layout)
            with neurons.evaluating(net), torch.no_grad():  # as it is read, and before hooks hold statistics
                # The traced network shares the modules, so that one can be masked and the other not.
                masked = while_it_learns.enter_context(neurons.masked(graphs.seen(net, few), critical))
                masked(few)
        return freezing.tune(
            net, elements, loss, len(x), lambda some: torch.optim.AdamW(some, lr),
            epochs=epochs, batch_size=batch_size, seed=seed, reduced=reduced, decay=True,
            weights=_balancing(y) if balanced else None, statistics=statistics,
        )  # fmt: skip


def _balancing(y: Tensor) -> Tensor:
    """Weights (N,) by which every class among labels y (N,) is as likely."""
    return 1.0 / torch.bincount(y.cpu())[y.cpu()]


def random_slice(critical: slicing.Slice, seed: int) -> slicing.Slice:
    """A slice with as many neurons of each layer, drawn at random: the control that says what the choice is worth."""
    generator = torch.Generator().manual_seed(seed)
    return slicing.Slice(
        {name: mask[torch.randperm(len(mask), generator=generator)] for name, mask in critical.masks.items()}, {}
    )


def only(loaded: data.Data, classes: Tensor) -> data.Data:
    """The data with training images of the given classes only, and a checksum of its own."""
    keep = samples(loaded.y_train, classes)
    sha256 = f"{loaded.sha256}, classes {classes.tolist()}"
    return replace(loaded, x_train=loaded.x_train[keep], y_train=loaded.y_train[keep], sha256=sha256)
