"""What the synapses of a network contribute to its classes, for NNSlicer's pruning and protection."""

from torch import Tensor, nn

from nssutils import data, nnslicer, pruning
from nssutils.settings import Setting
from nssutils.studies import common

TARGET = (0, 1, 5)  # the classes of its Fig. 4; which ones Fig. 5 protects is not printed

Worth = dict[str, Tensor]  # {module: a number for each of its weights}


def contributions(net: nn.Module, setting: Setting, loaded: data.Data, each: int, theta: float) -> Worth:
    """{module: (n_classes, *weight.shape)}, from the first `each` scored images of every class, each to its own."""
    x, y = common.scored_images(setting, loaded)
    few = data.first_per_class(y.cpu(), each)
    means = nnslicer.profile(net, x)
    _, found = nnslicer.class_contributions(
        net, x[few], y[few], means, theta, synapses=True, n_classes=setting.n_classes
    )
    return found


def flow(found: Worth, classes) -> Worth:
    """The size of each synapse's contribution to several classes, summed over them."""
    return {name: value[list(classes)].sum(0).abs() for name, value in found.items()}


def weights(net: nn.Module) -> Worth:
    """The weights whose synapses are pruned or hidden, on the CPU."""
    return {name: weight.cpu() for name, weight in pruning.weights(net).items()}
