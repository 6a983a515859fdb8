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
    """NNSlicer for one input x (C, H, W) or (features,): one weighted sum, one synapse at a time.

    mean_of: {Linear or Conv2d: (means of its inputs' channels, means of its outputs' channels)}.
    Returns contributions at the output of each module, {module: (shape of its output)}, and of its synapses.
    """
    at_outputs: dict[nn.Module, Tensor] = {}
    at_synapses = {module: torch.zeros_like(module.weight) for module in net.modules() if module in mean_of}
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
        if isinstance(module, nn.Linear | nn.Conv2d):
            contribution = _sums(module, before, after, contribution, *mean_of[module], theta, at_synapses[module])
        elif isinstance(module, nn.ReLU):
            contribution = _relu(after, contribution)
        elif isinstance(module, nn.Flatten):
            contribution = contribution.reshape(before.shape)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            contribution = _pool(module, before, after, contribution)
        elif isinstance(module, Residual):
            contribution = _relu(after, contribution)
            contribution = contribution + _back(
                module.body, before, contribution, mean_of, theta, at_outputs, at_synapses
            )
        else:
            assert isinstance(module, nn.BatchNorm2d), module
    return contribution


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _relu(after: Tensor, contribution: Tensor) -> Tensor:
    out = torch.zeros_like(contribution)
    for index in product(*map(range, out.shape)):
        out[index] = _sign(contribution[index].item()) if after[index] > 0 else 0
    return out


def _sums(module, before, after, contribution, mean_before, mean_after, theta, at_synapses) -> Tensor:
    """The rule of weighted sums; `at_synapses` gains what the synapses contribute."""
    out, weight = torch.zeros_like(before), module.weight.tolist()
    dx = before - mean_before.to(before).view(-1, *[1] * (before.dim() - 1))
    dx, means = dx.tolist(), mean_after.tolist()
    for unit in product(*map(range, after.shape)):
        y = after[unit].item()
        towards = contribution[unit].item() * (y - means[unit[0]])
        if not towards:
            continue
        terms = []  # (w dx, position of the input, position of the synapse)
        if isinstance(module, nn.Linear):
            terms = [(weight[unit[0]][i] * dx[i], (i,), (unit[0], i)) for i in range(len(dx))]
        else:
            for c, i, j in product(*map(range, module.weight.shape[1:])):
                group = unit[0] // (len(weight) // module.groups)
                channel = group * module.weight.shape[1] + c
                row = unit[1] * module.stride[0] + i * module.dilation[0] - module.padding[0]
                column = unit[2] * module.stride[1] + j * module.dilation[1] - module.padding[1]
                if 0 <= row < before.shape[1] and 0 <= column < before.shape[2]:
                    term = weight[unit[0]][c][i][j] * dx[channel][row][column]
                    terms.append((term, (channel, row, column), (unit[0], c, i, j)))
        terms.sort(key=lambda term: abs(term[0]))
        dropped = 0.0
        while terms and abs(dropped + terms[0][0]) < theta * abs(y):
            dropped += terms.pop(0)[0]
        for term, place, synapse in terms:
            out[place] += _sign(towards * term)
            at_synapses[synapse] += _sign(towards * term)
    return out


def _pool(module, before, after, contribution) -> Tensor:
    """To the first maximum of the window, or to all of an average's window."""
    out, size = torch.zeros_like(before), module.kernel_size
    for c, i, j in product(*map(range, after.shape)):
        window = list(product((c,), range(i * size, (i + 1) * size), range(j * size, (j + 1) * size)))
        if isinstance(module, nn.MaxPool2d):
            window = [max(window, key=lambda place: before[place].item())]
        for place in window:
            out[place] += contribution[c, i, j]
    return out
