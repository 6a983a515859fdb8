"""A network's contributions, rankings and CKA curves: computed once, kept beside the checkpoints for every chapter."""

from dataclasses import dataclass

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nssutils import contribution, data, digests, files, neurons, slicing

ByLayer = dict[str, Tensor]


@dataclass(frozen=True)
class Scores:
    """What slicing a network takes, for each of the five metrics."""

    contributions: dict[str, ByLayer]  # {metric: {layer: float64 (n_classes, width)}}
    orders: dict[str, ByLayer]  # neurons by descending contribution, int64 (n_classes, width)
    curves: dict[str, ByLayer]  # CKA of each prefix of the ranking with the whole layer, float64 (n_classes, width)
    counts: Tensor  # images of each class, (n_classes,)

    def semantic(self, metric: str, theta: float, step: int = 1) -> slicing.Slice:
        """The semantic slice at a threshold."""
        return slicing.at_theta(self.curves[metric], self.orders[metric], theta, step)

    def whole(self) -> dict[str, ByLayer]:
        """Rankings over the whole dataset, {metric: {layer: (1, width)}}."""
        return _orders(contribution.overall(self.contributions, self.counts))


def of(
    net: nn.Module, x: Tensor, y: Tensor, *, spatial: str = "mean", centred: bool = True, samples: int = 256,
    taylor_batch: int = 256,
) -> Scores:  # fmt: skip
    """The scores of a network on images x with labels y, by the readings that the paper leaves open.

    Kept by what they depend on: weights, images, readings, code. Whoever asks first computes them.
    """
    key = [digests.of_tensors(net.state_dict().values()), digests.of_tensors((x, y))]
    key += [spatial, centred, samples, taylor_batch, torch.__version__, torch.get_num_threads()]
    key += [digests.code("contribution.score", "slicing.similarity_curves")]
    file = data.CACHE / "scores" / f"{digests.of(key)[:32]}.safetensors"
    if not file.exists():
        contributions = contribution.score(net, x, y, n_classes=int(y.max()) + 1, batch_size=taylor_batch)
        curves = slicing.similarity_curves(net, x, y, _orders(contributions), None, samples, spatial, centred)
        kinds = {"contributions": contributions, "curves": curves}
        tensors = {
            f"{kind}/{metric}/{name}": value
            for kind, by_metric in kinds.items()
            for metric, by_layer in by_metric.items()
            for name, value in by_layer.items()
        }
        with files.atomically(file) as partial:
            save_file(tensors, partial)
    tensors, layers = load_file(file), neurons.layers(net)
    contributions, curves = (
        {metric: {name: tensors[f"{kind}/{metric}/{name}"] for name in layers} for metric in contribution.METRICS}
        for kind in ("contributions", "curves")
    )
    return Scores(contributions, _orders(contributions), curves, torch.bincount(y.cpu()))


def _orders(contributions: dict[str, ByLayer]) -> dict[str, ByLayer]:
    return {
        metric: {name: contribution.ranking(value) for name, value in by_layer.items()}
        for metric, by_layer in contributions.items()
    }
