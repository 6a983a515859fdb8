"""A network's contributions, rankings and CKA curves: computed once, kept beside the checkpoints for every chapter."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nssutils import contribution, data, digests, files, neurons, sealed, slicing

ByLayer = dict[str, Tensor]


@dataclass(frozen=True)
class Scores:
    """What slicing a network takes, for each of the five metrics."""

    contributions: dict[str, ByLayer]  # {metric: {layer: float64 (n_classes, width)}}
    orders: dict[str, ByLayer]  # neurons by descending contribution, int64 (n_classes, width)
    curves: dict[str, ByLayer]  # CKA of each prefix of the ranking with the whole layer, float64 (n_classes, width)
    counts: Tensor  # images of each class, (n_classes,)

    def semantic(self, metric: str, theta: float) -> slicing.Slice:
        """The semantic slice at a threshold."""
        return slicing.at_theta(self.curves[metric], self.orders[metric], theta)

    def whole(self) -> dict[str, ByLayer]:
        """Rankings over the whole dataset, {metric: {layer: (1, width)}}."""
        return orders(contribution.overall(self.contributions, self.counts))


def of(
    net: nn.Module, x: Tensor, y: Tensor, *, spatial: str = "mean", centred: bool = True, samples: int = 256,
    taylor_batch: int = 256,
) -> Scores:  # fmt: skip
    """The scores of a network on images x with labels y, by the readings that the paper leaves open.

    Kept by what they depend on: weights, images, readings, code. Whoever asks first computes them.
    """
    key = [digests.of_tensors(net.state_dict().values()), digests.of_tensors((x, y))]
    key += [spatial, centred, samples, taylor_batch, torch.__version__, torch.get_num_threads()]
    key += [
        digests.processor(),
        digests.code("contribution.score", "slicing.similarity_curves", "studies.scores.orders"),
    ]
    file = data.CACHE / "scores" / f"{digests.of(key)[:32]}.safetensors"
    tensors = _read(file, net)
    if tensors is None:
        contributions = contribution.score(net, x, y, n_classes=int(y.max()) + 1, batch_size=taylor_batch)
        curves = slicing.similarity_curves(net, x, y, orders(contributions), None, samples, spatial, centred)
        kinds = {"contributions": contributions, "curves": curves}
        tensors = {
            f"{kind}/{metric}/{name}": value
            for kind, by_metric in kinds.items()
            for metric, by_layer in by_metric.items()
            for name, value in by_layer.items()
        }
        sealed.save(file, tensors, {"of": file.stem})
    layers = neurons.layers(net)
    contributions, curves = (
        {metric: {name: tensors[f"{kind}/{metric}/{name}"] for name in layers} for metric in contribution.METRICS}
        for kind in ("contributions", "curves")
    )
    return Scores(contributions, orders(contributions), curves, torch.bincount(y.cpu()))


def _read(file: Path, net: nn.Module) -> ByLayer | None:
    """What is kept of a network's scores; None where there is nothing. What is damaged or another's is set aside."""
    if not file.exists():
        return None
    try:
        tensors, told = sealed.read(file)
    except sealed.SealError as error:
        files.set_aside(file, f"{error}")
        return None
    kinds = [f"{kind}/{metric}" for kind in ("contributions", "curves") for metric in contribution.METRICS]
    widths = {f"{kind}/{name}": layer.width for kind in kinds for name, layer in neurons.layers(net).items()}
    if {name: tensor.shape[-1:] for name, tensor in tensors.items()} != {name: (w,) for name, w in widths.items()}:
        files.set_aside(file, "is not of this network")
        return None
    if told.get("of") != file.stem:
        files.set_aside(file, f"has the scores {told.get('of')}")
        return None
    return tensors


def orders(contributions: dict[str, ByLayer]) -> dict[str, ByLayer]:
    """The rankings by given contributions, both {what: {layer: (rows, width)}}."""
    return {
        metric: {name: contribution.ranking(value) for name, value in by_layer.items()}
        for metric, by_layer in contributions.items()
    }
