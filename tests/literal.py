"""The papers' algorithms as printed: slow, one neuron at a time. The fast ones must agree with them."""

from itertools import product

import torch
from torch import Tensor, nn


def landscape(acts: Tensor, centred: bool) -> Tensor:
    """Eq. 1 for activations (N, neurons, S): inner products of the samples' features."""
    features = acts.double().flatten(1)
    if centred:
        features = features - features.mean(0)
    return features @ features.T


def cka(m: Tensor, m_whole: Tensor) -> float:
    """Eq. 2 for two landscapes; a layer that does not vary is represented by any of its neurons."""
    if m_whole.norm() == 0:
        return 1.0
    if m.norm() == 0:
        return 0.0
    return ((m * m_whole).sum() / (m.norm() * m_whole.norm())).item()


def linear_scan(acts: Tensor, scores: Tensor, theta: float, step: int, centred: bool) -> Tensor:
    """Algorithm 1 for one layer and class: the critical neurons, bool (width,)."""
    width, m_whole = acts.shape[1], landscape(acts, centred)
    remaining = sorted(range(width), key=lambda neuron: (-scores[neuron].item(), neuron))
    chosen: list[int] = []
    while remaining:
        chosen, remaining = chosen + remaining[:step], remaining[step:]
        if cka(landscape(acts[:, chosen], centred), m_whole) >= theta:
            break
    mask = torch.zeros(width, dtype=torch.bool)
    mask[chosen] = True
    return mask


class Residual(nn.Module):
    """x + body(x), ReLU after the sum."""

    def __init__(self, *body: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*body)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.body(x))


def steps(net: nn.Module) -> list[nn.Module]:
    """The modules of nested Sequentials in the order in which they act; residual blocks stay one."""
    return [step for part in net for step in steps(part)] if isinstance(net, nn.Sequential) else [net]


def nnslicer(net: nn.Sequential, x: Tensor, chosen: int, mean_of: dict[nn.Module, tuple], theta: float) -> tuple:
    """NNSlicer's Algorithm 1 for one input x (C, H, W) or (features,): one activation, one synapse at a time.

    mean_of: {module: (means of its inputs' channels, means of its outputs' channels)}; of a Residual, (those of x, of
    what its body gives, of their sum).
    Returns contributions at the output of each module, {module: (shape of its output)}, and of its synapses.
    """
    at_outputs: dict[nn.Module, Tensor] = {}
    weighted = [module for module in mean_of if isinstance(module, nn.Linear | nn.Conv2d)]
    at_synapses = {module: torch.zeros_like(module.weight) for module in weighted}
    with torch.no_grad():
        out = net(x[None])[0]
        contribution = torch.zeros_like(out)
        contribution[chosen] = 1
        _back(net, x, contribution, mean_of, theta, at_outputs, at_synapses)
    return at_outputs, at_synapses


def _back(net, x, contribution, mean_of, theta, at_outputs, at_synapses) -> Tensor:
    """Contributions of the input x of a chain of modules, from those of its output."""
    chain, values = steps(net), [x]
    for module in chain:
        values.append(module(values[-1].clone()[None])[0])
    for i in range(len(chain) - 1, -1, -1):
        module, before, after = chain[i], values[i], values[i + 1]
        at_outputs[module] = contribution
        if isinstance(module, nn.Flatten):
            contribution = contribution.reshape(before.shape)
        elif isinstance(module, Residual):
            at_x, at_body, at_sum = mean_of[module]
            body = module.body(before.clone()[None])[0]
            contribution = _each(module.act, before + body, after, contribution, at_sum, mean_of[module.act][1])
            straight, through = _addition(before, body, contribution, at_x, at_body, at_sum, theta)
            contribution = straight + _back(module.body, before, through, mean_of, theta, at_outputs, at_synapses)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            contribution = _sums(module, before, after, contribution, *mean_of[module], theta, at_synapses[module])
        else:
            contribution = _each(module, before, after, contribution, *mean_of[module])
    return contribution


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _apart(value: Tensor, mean: Tensor) -> list[float]:
    """How far each neuron's value, the mean of its activations, is from its average."""
    return [value[n].mean().item() - mean[n].item() for n in range(len(value))]


def _surviving(terms: list[float], y: float, theta: float) -> list[int]:
    """Which local contributions survive the cut: not those up to the largest index, in ascending size, up to which
    their sum stays below theta."""
    order = sorted(range(len(terms)), key=lambda i: abs(terms[i]))
    cut, dropped = 0, 0.0
    for j, i in enumerate(order, start=1):
        dropped += terms[i]
        if abs(dropped) < theta * abs(y):
            cut = j
    return order[cut:]


def _sums(module, before, after, contribution, mean_before, mean_after, theta, at_synapses) -> Tensor:
    """The rule of weighted sums; `at_synapses` gains what the synapses contribute."""
    out, weight = torch.zeros_like(before), module.weight.tolist()
    dx, dy = _apart(before, mean_before), _apart(after, mean_after)
    for n in range(len(weight)):
        inputs = list(product(*map(range, module.weight.shape[1:])))  # (channel, row and column of the kernel)
        first = n // (len(weight) // getattr(module, "groups", 1)) * module.weight.shape[1]
        terms = [module.weight[(n, *i)].item() * dx[first + i[0]] for i in inputs]
        for i in _surviving(terms, after[n].mean().item(), theta):
            for position in product(*map(range, after.shape[1:])):
                place = (first + inputs[i][0],)
                for axis, (at, tap) in enumerate(zip(position, inputs[i][1:], strict=True)):
                    shift = tap * module.dilation[axis] - module.padding[axis]
                    place += (at * module.stride[axis] + shift,)
                if all(0 <= at < size for at, size in zip(place, before.shape, strict=True)):
                    sign = _sign(contribution[(n, *position)].item() * dy[n] * terms[i])
                    out[place] += sign
                    at_synapses[(n, *inputs[i])] += sign
    return out


def _addition(x, body, contribution, at_x, at_body, at_sum, theta) -> tuple[Tensor, Tensor]:
    """The rule of weighted sums for two inputs whose weights are 1."""
    out, dy = (torch.zeros_like(x), torch.zeros_like(x)), _apart(x + body, at_sum)
    for n in range(len(x)):
        terms = [_apart(x, at_x)[n], _apart(body, at_body)[n]]
        for i in _surviving(terms, (x + body)[n].mean().item(), theta):
            for position in product(*map(range, x.shape[1:])):
                place = (n, *position)
                out[i][place] += _sign(contribution[place].item() * dy[n] * terms[i])
    return out


def _each(module, before, after, contribution, mean_before, mean_after) -> Tensor:
    """The rules of a rectifier, a scale, a maximum and an average."""
    out, dx, dy = torch.zeros_like(before), _apart(before, mean_before), _apart(after, mean_after)
    for place in product(*map(range, after.shape)):
        inputs = [place]
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            (n, i, j), size = place, module.kernel_size
            inputs = list(product((n,), range(i * size, (i + 1) * size), range(j * size, (j + 1) * size)))
        if isinstance(module, nn.MaxPool2d):
            inputs = [each for each in inputs if before[each] == after[place]]
        if isinstance(module, nn.ReLU):
            inputs = [each for each in inputs if before[each] > 0]
        for each in inputs:
            out[each] += _sign(contribution[place].item() * dy[place[0]] * dx[place[0]])
    return out
