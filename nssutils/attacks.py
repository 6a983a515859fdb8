"""The attacks that NNSlicer is judged on (Zhang et al. 2020, Table 4), as foolbox has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from nssutils import neurons, training
from nssutils.errors import near_miss
from nssutils.readaptation import AttackError


class AttackMissing(AttackError):
    """An attack that this machine cannot make, whatever the network."""


@dataclass(frozen=True)
class Attack:
    """One of foolbox's attacks; where its own steps take days on a processor, fewer. The paper prints none."""

    name: str  # foolbox's class
    options: dict = field(default_factory=dict)
    distance: float | None = None  # None where the attack looks for the smallest that misleads
    start: str = ""  # what a search begins with: "an image" of another class, or what another attack has made


ATTACKS: dict[str, Attack] = {
    **{f"FGSM_{k}": Attack("LinfFastGradientAttack", distance=k / 255) for k in (2, 4, 8)},
    "DeepFoolLinf": Attack("LinfDeepFoolAttack"),
    "DeepFoolL2": Attack("L2DeepFoolAttack"),
    **{f"RPGD_{k}": Attack("LinfPGD", {"random_start": True}, k / 255) for k in (2, 4, 8)},
    "CWL2": Attack("L2CarliniWagnerAttack", {"steps": 100, "binary_search_steps": 4}),
    "SaltAndPepper": Attack("SaltAndPepperNoiseAttack", {"steps": 100}),
    "Boundary": Attack("BoundaryAttack", {"steps": 300}, start="an image"),
    "Spatial": Attack("SpatialAttack"),
    "Pointwise": Attack("PointwiseAttack", {"l2_binary_search": False}, start="SaltAndPepper"),
    "GaussianBlur": Attack("GaussianBlurAttack", {"steps": 50}),
}
# What foolbox 3 lacks of the 17: those of foolbox 2 that nobody carried over.
GAPS = ("JSMA", "ADef", "SinglePixel", "LocalSearch")


def misleading(net: nn.Module, x: Tensor, y: Tensor, attack: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """What an attack makes of those images x (N, C, H, W) in [0, 1], recognised as y, that it can make mislead: their
    places (M,) and the moved images (M, C, H, W), on the CPU. The network is used in eval mode and left as it was.

    Raises AttackError for an unknown attack and for a network or images that the attack cannot take, AttackMissing
    without foolbox.
    """
    if attack not in ATTACKS:
        raise AttackError(f"unknown attack {attack!r}; known: {', '.join(ATTACKS)}.{near_miss(attack, ATTACKS)}")
    foolbox, how, places = _foolbox(attack), ATTACKS[attack], torch.arange(len(x))
    options = {}
    if how.start == "an image":
        options["starting_points"] = _others(net, x, y)
    elif how.start:
        places, options["starting_points"] = misleading(net, x, y, how.start, seed)
    where = next(net.parameters()).device
    options = {name: value.to(where) for name, value in options.items()}
    with neurons.evaluating(net), _seeded(seed):
        try:
            model = foolbox.PyTorchModel(net, bounds=(0, 1), device=where)
            make = getattr(foolbox.attacks, how.name)(**how.options)
            _, made, misled = make(model, x[places].to(where), y[places].to(where), epsilons=how.distance, **options)
        except torch.OutOfMemoryError:  # no fault of the attack's
            raise
        except (ValueError, RuntimeError, AssertionError) as error:
            raise AttackError(
                f"{attack} (foolbox's {how.name}) cannot be made on {len(x)} images {tuple(x.shape[1:])} of this "
                f"{type(net).__name__}: {error or type(error).__name__}. Expected a classifier of images in [0, 1] "
                "with gradients, and images that it recognises."
            ) from error
    misled = misled.cpu()
    return places[misled], made.detach().cpu()[misled]


def _foolbox(attack: str):
    try:
        import foolbox  # not at the top: an optional dependency, of this module alone
    except ImportError as error:
        raise AttackMissing(
            f"attack {attack} needs foolbox, which is not installed ({error}); expected: pip install 'nssutils[peers]'."
        ) from error
    return foolbox


def _others(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """For each image the next one that is taken for another class."""
    seen = training.logits(net, x).argmax(1).cpu()
    places = []
    for i in range(len(x)):
        following = (torch.arange(len(x)) + i) % len(x)
        different = following[seen[following] != y[i].cpu()]
        if not len(different):
            raise AttackError(f"all {len(x)} images are taken for class {int(y[i])}, expected some of other classes.")
        places.append(int(different[0]))
    return x[places]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within the block torch's and numpy's generators, which foolbox draws from, begin at a seed; after it they are as
    they were."""
    kept = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(kept)  # noqa: NPY002
