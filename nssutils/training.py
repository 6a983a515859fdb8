"""Train a network, measure its accuracy, and keep checkpoints so that nothing is trained twice."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from nssutils import arithmetic, data, digests, files, models, neurons, samples, sealed
from nssutils.errors import NssError
from nssutils.settings import Setting

# What a checkpoint's content depends on: the setting's fields that shape the data or the training.
_SHAPING = (
    "model", "dataset", "width", "image_size", "channels", "held_size", "train_size", "epochs", "batch_size",
    "optimizer", "lr", "weight_decay", "label_smoothing", "sizes", "augment", "reduced", "n_classes",
)  # fmt: skip


# Of one job: another number of threads adds up in another order and gives another network, and two jobs of one thread
# compute more than one of two.
THREADS = 1
CACHED = 125  # images at most that a processor evaluates at once


class TrainingError(NssError):
    """A training that cannot be done as asked, or that diverged."""


def device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def trained(setting: Setting, seed: int, loaded: data.Data) -> nn.Module:
    """The setting's network trained from `seed`, on `device()`, in eval mode: from its checkpoint where there is one.

    A training that was cut short goes on from its last whole epoch. A checkpoint that is damaged, or another's, is set
    aside as `*.damaged` and the network trained again.
    """
    torch.set_num_threads(THREADS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = models.build(setting, n_classes=setting.n_classes).to(device())
    return fit(
        net, loaded.x_train, loaded.y_train, epochs=setting.epochs, batch_size=setting.batch_size,
        optimizer=setting.optimizer, lr=setting.lr, weight_decay=setting.weight_decay,
        label_smoothing=setting.label_smoothing, sizes=setting.sizes, augment=setting.augment, reduced=setting.reduced,
        seed=seed, checkpoint=_checkpoint(setting, seed, loaded), label=f"train {setting.name}, seed {seed}",
    )  # fmt: skip


def origin(setting: Setting, seed: int, loaded: data.Data) -> dict[str, str]:
    """By which code and on which kind of processor the setting's network was trained; {} before it is."""
    found = _read(_checkpoint(setting, seed, loaded))
    return {name: found.progress[name] for name in ("code", "processor")} if found else {}


def is_trained(setting: Setting, seed: int, loaded: data.Data) -> bool:
    """Whether `trained` would find the setting's network whole, by the present code or one that computes the same."""
    found = _read(_checkpoint(setting, seed, loaded))
    same = found is not None and digests.equivalent("networks", found.progress["code"], code())
    return same and found.progress["epoch"] == setting.epochs


def forget(setting: Setting, seed: int, loaded: data.Data) -> None:
    """Have the setting's network trained anew the next time."""
    _file(_checkpoint(setting, seed, loaded)).unlink(missing_ok=True)


def code() -> str:
    """The digest of the code that decides what a network becomes."""
    return digests.code("training.trained", "data.load")


def _checkpoint(setting: Setting, seed: int, loaded: data.Data) -> Path:
    """Where the network is kept, without suffix: a name that is the same for all presets that train it alike.

    The code is no part of the name, lest a change that computes the same throw hours away; the file records it.
    """
    key = {name: asdict(setting)[name] for name in _SHAPING}
    key |= {"seed": seed, "data": loaded.sha256, "torch": torch.__version__}
    key |= {"device": device().type, "threads": THREADS}  # other arithmetic, other weights
    return data.CACHE / "checkpoints" / f"{setting.name}-seed{seed}-{digests.of(key)[:16]}"


def fit(
    net: nn.Module, x: Tensor, y: Tensor, *, epochs: int, batch_size: int, lr: float, optimizer: str = "adamw",
    weight_decay: float = 0.0, label_smoothing: float = 0.0, sizes: Sequence[int] = (), augment: bool = False,
    reduced: bool = False, seed: int = 0, checkpoint: Path | None = None, label: str = "train",
) -> nn.Module:  # fmt: skip
    """Train `net` in place on images x (N, C, H, W) and labels y (N,) by cross-entropy; returns it in eval mode.

    One-cycle schedule with peak `lr`; `augment` flips and crops (padding 1/8 of the side) on the device; `sizes` are
    the sides in pixels that the images are scaled to in equal stretches of the epochs (progressive resizing: small ones
    cost little and teach the most at first); `reduced` is bf16 autocast with channels_last. All randomness comes from
    `seed` and the epoch, so that a training that goes on from `checkpoint` (a path without suffix) ends where an
    uninterrupted one does. torch's generator is left as it was.
    Raises TrainingError where the loss is no longer finite.
    """
    target = next(net.parameters()).device
    layout = torch.channels_last if reduced else torch.contiguous_format
    net.to(memory_format=layout)
    x, y = x.to(target), y.to(target)
    steps = -(-len(x) // batch_size)
    optimiser = _optimizer(optimizer, net, lr, weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, epochs=epochs, steps_per_epoch=steps)
    done = _resume(checkpoint, net, optimiser, schedule, epochs) if checkpoint else 0
    if done == epochs:
        return net.eval()
    bar = tqdm(total=epochs * steps, initial=done * steps, desc=label, unit="batch", file=sys.stderr, mininterval=2)
    with bar, torch.random.fork_rng():
        for epoch in range(done, epochs):
            torch.manual_seed(seed * 100_003 + epoch)
            net.train()
            # A last batch of one image would leave BN without a variance.
            for batch in torch.randperm(len(x)).split(batch_size):
                if len(batch) == 1:
                    continue
                batch = batch.to(target)
                images = _augmented(x[batch]) if augment else x[batch]
                if sizes and (size := sizes[epoch * len(sizes) // epochs]) != images.shape[-1]:
                    images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
                with arithmetic.reduced(target, reduced):
                    outputs = net(images.to(memory_format=layout))
                    loss = F.cross_entropy(outputs, y[batch], label_smoothing=label_smoothing)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                bar.update()
            if not all(torch.isfinite(each).all() for each in (loss, *net.state_dict().values())):
                raise TrainingError(
                    f"{label}: the loss is {loss.item()} in epoch {epoch + 1}, or a weight is no finite number; "
                    f"lr={lr} is too high."
                )
            bar.set_postfix_str(f"epoch {epoch + 1}/{epochs}, loss {loss.item():.3f}")
            if checkpoint:
                _save(checkpoint, net, optimiser, schedule, epoch + 1, epochs)
    return net.eval()


@torch.no_grad()
def logits(net: nn.Module, x: Tensor, batch_size: int = 1000, reduced: bool = False) -> Tensor:
    """The network's outputs (N, n_classes) for images x, in eval mode, computed batch by batch on the net's device.

    `reduced` is bf16 autocast with channels_last: faster, and rounded. A processor takes no more images at once than
    its caches have room for.
    """
    x, where = torch.as_tensor(x), next(net.parameters()).device
    layout = torch.channels_last if reduced and x.dim() == 4 else torch.preserve_format
    if where.type == "cpu":
        batch_size = min(batch_size, CACHED)
    with neurons.evaluating(net), arithmetic.reduced(where, reduced):
        # A copy, since forward() may overwrite what it is given.
        outputs = [net(batch.to(where, memory_format=layout, copy=True)) for batch in x.split(batch_size)]
    if not isinstance(outputs[0], Tensor):
        raise _no_logits(outputs[0])
    found = torch.cat(outputs)
    return found.to(x.dtype) if x.is_floating_point() else found


def correct(net: nn.Module, x: Tensor, y: Tensor, batch_size: int = 1000, reduced: bool = False) -> Tensor:
    """Which of the images x with labels y (N,) are recognised: bool (N,), on the CPU; `reduced` as in `logits`."""
    x = samples.checked(x) if len(x) else x
    given, y = checked(logits(net, x, batch_size, reduced)), samples.labels(y, len(x)).cpu()
    samples.check_range(y, given.shape[1])
    return given.argmax(1).cpu() == y


def cross_entropy(logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """The loss of logits (N, classes) and labels y (N,). Raises SampleError for a label that has no logit."""
    if y.device.type == "cpu":  # elsewhere it would have to be waited for
        samples.check_range(y, logits.shape[1])
    return F.cross_entropy(logits, y, reduction=reduction)


def checked(given) -> Tensor:
    """Logits (N, classes), as a network gives them. Raises TrainingError for what no class can be read off."""
    if not isinstance(given, Tensor) or given.dim() != 2 or given.shape[1] < 2:
        raise _no_logits(given)
    return given


def _no_logits(given) -> TrainingError:
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    return TrainingError(
        f"the network gives {shape}, expected logits (N, classes) of two classes at least; one of several outputs can "
        "be picked by a module around the network, as net(x)['logits']."
    )


def evaluate(net: nn.Module, x: Tensor, y: Tensor, batch_size: int = 1000, reduced: bool = False) -> float:
    """Accuracy in [0, 1] on images x with labels y; `reduced` as in `logits`."""
    return correct(net, samples.checked(x), y, batch_size, reduced).double().mean().item()


def _optimizer(name: str, net: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=weight_decay, nesterov=True)
    if name == "adamw":
        return torch.optim.AdamW(net.parameters(), lr, weight_decay=weight_decay)
    raise TrainingError(f"optimizer {name!r} given, expected 'sgd' or 'adamw'.")


def _augmented(x: Tensor) -> Tensor:
    """Each image of x (N, C, H, W) flipped with probability 1/2 and shifted by up to 1/8 of its side, padded with 0."""
    n, _, height, width = x.shape
    pad = height // 8
    flip = torch.rand(n) < 0.5
    columns = torch.arange(width).expand(n, -1)
    columns = torch.where(flip[:, None], columns.flip(1), columns) + torch.randint(0, 2 * pad + 1, (n, 1))
    rows = torch.arange(height) + torch.randint(0, 2 * pad + 1, (n, 1))
    sample = torch.arange(n, device=x.device)[:, None, None]
    rows, columns = rows.to(x.device)[:, :, None], columns.to(x.device)[:, None, :]
    # Indexing with the channels last gives (N, H, W, C); the permuted view is in channels_last layout already.
    return F.pad(x, (pad,) * 4).permute(0, 2, 3, 1)[sample, rows, columns].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Kept:
    """What a checkpoint holds."""

    tensors: dict[str, Tensor]  # "net.NAME", and while it is trained "optimiser.INDEX.NAME"
    progress: dict  # epoch, code, processor; while it is trained also groups and schedule, the optimiser's
    vouched: bool  # whether it has a digest


def _file(checkpoint: str | Path) -> Path:
    return Path(f"{checkpoint}.safetensors")


def _save(checkpoint: Path, net: nn.Module, optimiser, schedule, epoch: int, epochs: int) -> None:
    """Write the state after `epoch` atomically; the optimiser's only while there are epochs left to use it."""
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    progress = {"epoch": epoch, "code": code(), "processor": digests.processor()}
    if epoch < epochs:
        for index, state in optimiser.state_dict()["state"].items():
            held = {name: tensor for name, tensor in state.items() if tensor is not None}
            tensors |= {f"optimiser.{index}.{name}": tensor.contiguous() for name, tensor in held.items()}
        progress |= {"groups": optimiser.state_dict()["param_groups"], "schedule": schedule.state_dict()}
    _write(checkpoint, tensors, progress)


def _write(checkpoint: Path, tensors: dict[str, Tensor], progress: dict) -> None:
    sealed.save(_file(checkpoint), tensors, {"progress": json.dumps(progress), "of": Path(checkpoint).name})


def _read(checkpoint: Path) -> _Kept | None:
    """What is kept of a training; None where there is nothing. What is damaged or another's is set aside."""
    path = _file(checkpoint)
    if not path.exists():
        return None
    try:
        tensors, told = sealed.read(path, unsealed={"progress"})
        if (owner := told.get("of", path.stem)) != path.stem:
            raise sealed.SealError(f"is the checkpoint of {owner}")
        progress = json.loads(told["progress"])
        kinds = {"epoch": int, "code": str, "processor": str}
        if not isinstance(progress, dict) or any(type(progress.get(name)) is not kind for name, kind in kinds.items()):
            raise sealed.SealError(f"does not say its {', '.join(kinds)}")
    except (sealed.SealError, ValueError) as error:
        files.set_aside(path, f"{error}")
        return None
    return _Kept(tensors, progress, sealed.DIGEST in told)


def _resume(checkpoint: Path, net: nn.Module, optimiser, schedule, epochs: int) -> int:
    """Load the state of the last whole epoch; returns how many epochs it has seen, 0 where there is no checkpoint."""
    kept = _read(checkpoint)
    if kept is None:
        return 0
    path, progress = _file(checkpoint), kept.progress
    if not digests.equivalent("networks", progress["code"], code()):
        stale = path.with_suffix(f".{progress['code'][:8]}.stale")
        print(
            f"{path.name} is of other code, trained for {progress['epoch']} epochs, and is trained anew. "
            f"It is kept as {stale.name}. If the present code computes the same, `nss certify` can prove it.",
            file=sys.stderr,
        )
        os.replace(path, stale)
        return 0
    if unfit := _unfit(kept, net, optimiser, schedule, epochs):
        files.set_aside(path, unfit)
        return 0
    net.load_state_dict({name[4:]: tensor for name, tensor in kept.tensors.items() if name.startswith("net.")})
    if progress["epoch"] < epochs:
        state: dict[int, dict[str, Tensor]] = {}
        for name in (name for name in kept.tensors if name.startswith("optimiser.")):
            _, index, field = name.split(".", 2)
            state.setdefault(int(index), {})[field] = kept.tensors[name]
        optimiser.load_state_dict({"state": state, "param_groups": progress["groups"]})
        schedule.load_state_dict(progress["schedule"])
    elif not kept.vouched:  # of before there were digests, and whole as far as can be told: from now on it can
        _write(checkpoint, kept.tensors, progress)
    return progress["epoch"]


def _unfit(kept: _Kept, net: nn.Module, optimiser, schedule, epochs: int) -> str:
    """Why a checkpoint cannot be that of the network and its optimiser; "" where it can."""
    own = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    parameters = [tensor for group in optimiser.param_groups for tensor in group["params"]]
    for index, parameter in enumerate(parameters):  # what the optimiser holds of one: of its shape, or a number
        for name in (name for name in kept.tensors if name.startswith(f"optimiser.{index}.")):
            own[name] = parameter if kept.tensors[name].dim() else kept.tensors[name]
    shapes, expected = ({name: (each.dtype, each.shape) for name, each in some.items()} for some in (kept.tensors, own))
    if wrong := sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)):
        return f"has {wrong[0]} {shapes.get(wrong[0], 'nowhere')}, expected {expected.get(wrong[0], 'nothing')}"
    if broken := [name for name, tensor in kept.tensors.items() if not tensor.isfinite().all()]:
        return f"has values in {broken[0]} that are no finite numbers"
    if not 1 <= kept.progress["epoch"] <= epochs:
        return f"says {kept.progress['epoch']} epochs, expected 1 to {epochs}"
    if kept.progress["epoch"] < epochs:
        going_on = {"groups": optimiser.state_dict()["param_groups"], "schedule": schedule.state_dict()}
        if not _alike({name: kept.progress.get(name) for name in going_on}, json.loads(json.dumps(going_on))):
            return "does not say how far its optimiser has come"
    return ""


def _alike(given, own) -> bool:
    """Whether two JSON values have the same keys, lengths and kinds of values."""
    if isinstance(own, dict):
        same = isinstance(given, dict) and given.keys() == own.keys()
        return same and all(_alike(given[name], value) for name, value in own.items())
    if isinstance(own, list):
        same = isinstance(given, list) and len(given) == len(own)
        return same and all(map(_alike, given, own))
    numbers = (int, float)
    return type(given) is type(own) or (type(given) in numbers and type(own) in numbers)
