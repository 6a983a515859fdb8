"""Re-adaptation (Section 4.2): attack a network, then repair it by training what a slice or DeepArc names (RQ3)."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nssutils import arithmetic, bars, deeparc, freezing, graphs, neurons, operations, samples, similarity, training
from nssutils.errors import NssError

METHODS = ("full", "deeparc", "nss", "nss+deeparc")
STEPS = 10  # of PGD, each a quarter of eps
ROUNDING = 1e-6  # how far outside [0, 1] images may be that were normalised and back
BATCH = 50  # images of a step of repair, each with its adversarial counterpart


class AttackError(NssError):
    """An attack that is not known, that cannot be made as asked or here, or that a network cannot take."""


def fgsm(net: nn.Module, x: Tensor, y: Tensor, eps: float, batch_size: int = 250, reduced: bool = False) -> Tensor:
    """Fast gradient sign method (Goodfellow et al. 2014): x + eps * sign(dL/dx), cut to [0, 1].

    x: images (N, C, H, W) in [0, 1]; y: labels (N,). The network is used in eval mode; its parameters' gradients, its
    modes and torch's generator are left as they were. `reduced` is bf16 autocast, which some signs depend on.
    """
    return by_batch(net, x, y, eps, batch_size, lambda images, labels: _ascended(net, images, labels, eps, reduced))


def pgd(
    net: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int = STEPS, alpha: float | None = None,
    random_start: bool = True, seed: int = 0, batch_size: int = 250, reduced: bool = False,
) -> Tensor:  # fmt: skip
    """Projected gradient descent (Madry et al. 2017): `steps` of FGSM with size `alpha` (eps / 4 unless given), each
    projected to within eps of x and to [0, 1], from a random point there. As `fgsm` otherwise."""
    alpha = eps / 4 if alpha is None else alpha
    generator = torch.Generator().manual_seed(seed)

    def attacked(images: Tensor, labels: Tensor) -> Tensor:
        adversarial = images
        if random_start:
            noise = torch.rand(images.shape, generator=generator, dtype=images.dtype).to(images.device)
            adversarial = (images + eps * (2 * noise - 1)).clamp(0, 1)
        for _ in range(steps):
            moved = _ascended(net, adversarial, labels, alpha, reduced)
            adversarial = torch.minimum(torch.maximum(moved, images - eps), images + eps).clamp(0, 1)
        return adversarial

    return by_batch(net, x, y, eps, batch_size, attacked)


ATTACKS: dict[str, Callable[..., Tensor]] = {"fgsm": fgsm, "pgd": pgd}


def check_images(x: Tensor) -> None:
    """Raise AttackError for images outside [0, 1], which an attack keeps to: others it would cut, however small eps.
    What rounding leaves of such images, as when they were normalised and back, passes."""
    low, high = (x.min().item(), x.max().item()) if x.numel() else (0.0, 1.0)
    if not (-ROUNDING <= low and high <= 1 + ROUNDING):
        raise AttackError(
            f"images from {low:.3g} to {high:.3g} given, expected [0, 1]: that is what an attack "
            "keeps to. A network of other values can be called by a module around it that makes them of such images."
        )


def calibrate(
    attack: Callable[..., Tensor], net: nn.Module, x: Tensor, y: Tensor, accuracy: float, reduced: bool = False
) -> float:
    """The eps at which the attack leaves the network an accuracy nearest the given one on images x, labels y.

    Doubled from half a grey level up until the accuracy is reached, then halved five times in between; where it is
    never reached, as with FGSM on some networks, the eps that comes nearest.
    """
    y, tried = samples.labels(y, len(x)), {}

    def left(eps: float) -> float:
        tried[eps] = training.evaluate(net, attack(net, x, y, eps, reduced=reduced), y)
        return tried[eps]

    low, high = 0.0, 0.5 / 255
    while left(high) > accuracy and high < 0.5:
        low, high = high, 2 * high
    for _ in range(5):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) > accuracy else (low, middle)
    return min(tried, key=lambda eps: abs(tried[eps] - accuracy))


def critical_units(net: nn.Module, x: Tensor, adversarial: Tensor, threshold: float = 0.99) -> list[deeparc.Unit]:
    """DeepArc's critical units "targeting adversarial samples" (Section 5.3, footnote 3): those that are not redundant
    and whose outputs on images x and on their adversarial counterparts are not alike, centred CKA at most `threshold`.

    The paper does not say which it trains. This reading leaves out what its printed shares leave out: the first two
    convolutions of AlexNet (99.18%) and VGG-16, and of VGG-16 the two redundant ones as well (67.60%).
    """
    found = deeparc.units(net, x)
    gone = deeparc.redundant(found, deeparc.similarities(net, x[: deeparc.BATCH]), threshold)
    changed = _changes(net, found, x[: deeparc.BATCH], adversarial[: deeparc.BATCH])
    return [unit for unit in found if unit not in gone and changed[unit.name] <= threshold]


def dropping_units(net: nn.Module, x: Tensor, adversarial: Tensor, count: int = 5) -> list[deeparc.Unit]:
    """DeepArc's critical units by its own public code (rq4_demo.ipynb): those at which the biased CKA between what they
    give for images x and for their adversarial counterparts, both (N, C, H, W), falls most from one unit to the next.

    The `count` largest falls, the largest first; fewer where there are fewer. The first unit has no predecessor and is
    not among them. DeepArc takes 5 blocks and 1,000 images.
    """
    if count < 1:
        raise NssError(f"count={count!r} given, expected at least 1 unit to repair.")
    found = deeparc.units(net, x)
    alike = _changes(net, found, x, adversarial)
    falls = {after: alike[before.name] - alike[after.name] for before, after in pairwise(found)}
    return sorted(falls, key=lambda unit: -falls[unit])[:count]


def repair_units(
    net: nn.Module, x: Tensor, adversarial: Tensor, y: Tensor, units: list[deeparc.Unit], *,
    epochs: int = 10, lr: float = 1e-3, batch_size: int = BATCH, seed: int = 0, reduced: bool = False,
) -> nn.Module:  # fmt: skip
    """Train all parameters of the given units in place by DeepArc's loss, 0.5 MSE + 0.5 CE (its public rq4_demo.ipynb).

    x, adversarial: images (N, C, H, W) and their counterparts; y: labels (N,). CE is the mean of those of both. MSE is
    that between what the first unit, the one with the largest fall, gives on both and what it gave on the clean images
    before the repair: so does the public code, which compares no logits or one-hot labels. Its optimiser, too, SGD with
    momentum 0.9; batch normalisation keeps its statistics, as in `repair`, and the learning rate falls linearly.
    Raises NssError without units, and freezing.FreezingError where the loss is no longer finite.
    """
    if not units:
        raise NssError("no units given to repair, expected at least one, as from dropping_units.")
    elements = freezing.whole(net, [part for unit in units for part in unit.parts])
    y, first, seen = samples.labels(y, len(x)), net.get_submodule(units[0].parts[-1]), []
    x, adversarial, y = (each.to(operations.device(net)) for each in (x, adversarial, y))
    hook = first.register_forward_hook(lambda *args: seen.append(args[2].clone()))
    try:
        training.logits(net, x[:1])
        if len(seen) != 1:
            raise NssError(
                f"unit {units[0].name!r} is called {len(seen)} times in a pass, expected once: the loss compares what "
                "it gives."
            )
        seen.clear()
        training.logits(net, x, batch_size=250)
        wanted = torch.cat(seen)

        def loss(batch: Tensor) -> Tensor:
            seen.clear()
            both = net(torch.cat([x[batch], adversarial[batch]]))
            (given,) = seen
            apart = F.mse_loss(given.float(), torch.cat([wanted[batch]] * 2).float())
            return 0.5 * apart + 0.5 * training.cross_entropy(both, torch.cat([y[batch]] * 2))

        return freezing.tune(
            net, elements, loss, len(x), lambda some: torch.optim.SGD(some, lr, momentum=0.9),
            epochs=epochs, batch_size=batch_size, seed=seed, reduced=reduced, decay=True,
        )  # fmt: skip
    finally:
        hook.remove()


def trainable(
    net: nn.Module, method: str, critical, units: list[deeparc.Unit], x: Tensor | None = None
) -> dict[str, Tensor]:  # fmt: skip
    """The elements of parameters that a repair method trains: {parameter: bool}.

    full: everything; nss: what connects the slice's critical neurons; deeparc: the units' weights and biases, without
    normalisation (as the shares printed for AlexNet and VGG-16 imply); nss+deeparc: what is in both. `x` is an
    example, as in freezing.connecting.
    """
    if method not in METHODS:
        raise NssError(f"method {method!r} given, expected one of {', '.join(METHODS)}.")
    elements = freezing.connecting(net, critical, x) if method.startswith("nss") else freezing.whole(net)
    if "deeparc" not in method:
        return elements
    norms = operations.MODULES["norm"] + operations.MODULES["layernorm"]
    normalises = {name for name, module in net.named_modules() if isinstance(module, norms)}
    inside = freezing.whole(net, (part for unit in units for part in unit.parts))
    owners = {name: name.partition(".parametrizations.")[0] for name in elements}  # of computed weights
    owners = {name: name.rpartition(".")[0] if owner == name else owner for name, owner in owners.items()}
    return {name: mask for name, mask in elements.items() if name in inside and owners[name] not in normalises}


def repair(net: nn.Module, x: Tensor, adversarial: Tensor, y: Tensor, elements: freezing.Elements, **how) -> nn.Module:
    """Train the given elements in place on images and their adversarial counterparts, both (N, C, H, W): the loss is
    CE(x) + CE(adversarial) (Section 4.2); AdamW, whose learning rate falls linearly to zero, lest a repair end in the
    middle of a leap. `how` is as in `repairing`."""
    for _ in repairing(net, x, adversarial, y, elements, **how):
        pass
    return net


def repairing(
    net: nn.Module, x: Tensor, adversarial: Tensor, y: Tensor, elements: freezing.Elements, *,
    epochs: int = 10, lr: float = 1e-3, batch_size: int = BATCH, seed: int = 0, reduced: bool = False,
) -> Iterator[int]:  # fmt: skip
    """`repair`, step by step, as freezing.tuning."""
    y = samples.labels(y, len(x))
    x, adversarial, y = (each.to(operations.device(net)) for each in (x, adversarial, y))

    def loss(batch: Tensor) -> Tensor:
        return sum(training.cross_entropy(net(images[batch]), y[batch]) for images in (x, adversarial))

    return freezing.tuning(
        net, elements, loss, len(x), lambda some: torch.optim.AdamW(some, lr),
        epochs=epochs, batch_size=batch_size, seed=seed, reduced=reduced, decay=True,
    )  # fmt: skip


def by_batch(net: nn.Module, x: Tensor, y: Tensor, eps: float, batch_size: int, attack: Callable) -> Tensor:
    """What attack(images, labels) makes of images x (N, C, H, W), or (N, F), in [0, 1] with labels y (N,), batch by
    batch, the network in eval mode. Raises AttackError for images outside [0, 1] and for an eps that is not above 0."""
    if not eps > 0:
        raise AttackError(f"eps={eps!r} given, expected a distance above 0 for images in [0, 1].")
    x = torch.as_tensor(x)
    check_images(x)
    where, y = next(net.parameters()).device, samples.labels(y, len(x))
    with neurons.evaluating(net):
        pairs = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return torch.cat(
            [
                attack(images.to(where), labels.to(where)).to(x.device)
                for images, labels in bars.over(pairs, "attack", len(x), lambda one: len(one[0]))
            ]
        )


def _ascended(net: nn.Module, x: Tensor, y: Tensor, distance: float, reduced: bool) -> Tensor:
    """x moved by `distance` along the sign of the loss's gradient, cut to [0, 1]."""
    return (x + distance * gradient(net, x, y, reduced).sign()).clamp(0, 1)


def gradient(net: nn.Module, x: Tensor, y: Tensor, reduced: bool = False) -> Tensor:
    """The gradient of each image's cross-entropy in its pixels, as x (N, ...), for labels y (N,); the network as it is.
    `reduced` is bf16 autocast. Raises TrainingError for outputs that are no logits of two classes at least."""
    x = x.detach().requires_grad_()
    with torch.enable_grad(), arithmetic.reduced(x.device, reduced):
        # By the cross-entropy of one output nothing moves. A copy, since forward() may overwrite what it is given.
        logits = training.checked(net(x.clone()))
        # The sum, so that an image's gradient does not depend on how many are in the batch.
        (found,) = torch.autograd.grad(training.cross_entropy(logits, y, reduction="sum"), x)
    return found


@torch.no_grad()
def _changes(net: nn.Module, units: list[deeparc.Unit], x: Tensor, adversarial: Tensor) -> dict[str, float]:
    """Centred CKA of each unit's output on x with that on the adversarial counterparts."""
    seen: dict[str, list[Tensor]] = {unit.name: [] for unit in units}
    with neurons.evaluating(net):
        traced = graphs.seen(net, x[:2].to(operations.device(net)))
        visits = {unit.site: lambda value, name=unit.name: seen[name].append(similarity.gram(value)) for unit in units}
        for images in (x, adversarial):
            graphs.run(traced, visits, images.to(next(net.parameters()).device))
    return {name: similarity.cka(*pair) for name, pair in seen.items()}
