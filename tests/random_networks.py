"""Networks drawn at random from all that has a rule, and from some that has none: branches, concatenations, gates,
groups, norms, shuffles."""

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

SIZE = 6


class Drawn(nn.Module):
    """A chain of drawn steps on (N, C, H, W), then a head; each step is (what, channels, how)."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.parts, width = steps, nn.ModuleDict(), 3
        for i, (what, channels, how) in enumerate(steps):
            made, width = PARTS[what](width, channels, how)
            for name, module in made.items():
                self.parts[f"{what}{i}{name}"] = module
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        for i, (what, _, how) in enumerate(self.steps):
            x = STEPS[what](lambda name, what=what, i=i: self.parts[f"{what}{i}{name}"], x, how)
        return self.head(x.mean((2, 3)))


def conv(i, o, k=3, **more):
    return nn.Conv2d(i, o, k, padding=k // 2, **more)


def divisor(n, how):
    return [d for d in range(1, n + 1) if n % d == 0][how % sum(n % d == 0 for d in range(1, n + 1))]


ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.GELU, nn.Softplus, nn.Hardswish, nn.Tanh)
POOLS = (nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
         nn.Upsample(SIZE + 1), nn.AdaptiveAvgPool2d(SIZE), nn.ZeroPad2d(1))  # fmt: skip

# {step: what it is made of, for a width, wanted channels and a free number: (modules by name, width behind)}
PARTS = {
    "conv": lambda w, c, how: ({"": conv(w, c, 1 + 2 * (how % 2), bias=how % 3 > 0)}, c),
    "reflected": lambda w, c, how: ({"": conv(w, c, 3, padding_mode=("reflect", "circular")[how % 2])}, c),
    "grouped": lambda w, c, how: ({"": conv(w, w * (1 + how % 2), groups=divisor(w, how))}, w * (1 + how % 2)),
    "depthwise": lambda w, c, how: ({"": conv(w, w, groups=w, bias=how % 2 > 0)}, w),
    "norm": lambda w, c, how: ({"": nn.BatchNorm2d(w, affine=how % 3 > 0)}, w),
    "group norm": lambda w, c, how: ({"": nn.GroupNorm(divisor(w, how), w)}, w),
    "activation": lambda w, c, how: ({"": ACTIVATIONS[how % len(ACTIVATIONS)]()}, w),
    "prelu": lambda w, c, how: ({"": nn.PReLU(w if how % 2 else 1)}, w),
    "pool": lambda w, c, how: ({"": POOLS[how % len(POOLS)]}, w),
    "residual": lambda w, c, how: ({"a": conv(w, c), "b": conv(c, w)}, w),
    "projected": lambda w, c, how: ({"a": conv(w, c), "b": conv(w, c, 1)}, c),
    "branches": lambda w, c, how: ({"a": conv(w, c), "b": conv(w, 2 + how % 4, 1)}, c + 2 + how % 4),
    "gate": lambda w, c, how: ({"a": nn.Conv2d(w, c, 1), "b": nn.Conv2d(c, w, 1)}, w),
    "halves": lambda w, c, how: ({"": conv(w, 2 * c)}, c),
    "shuffle": lambda w, c, how: ({}, w),
    "numbers": lambda w, c, how: ({}, w),
    "scale": lambda w, c, how: ({"": nn.ParameterList([torch.rand(w, 1, 1), torch.rand(1, w, 1, 1)])}, w),
    "tokens": lambda w, c, how: ({"a": nn.Linear(w, c), "b": nn.Linear(c, w), "n": nn.LayerNorm(w)}, w),
    "some": lambda w, c, how: ({}, max(1, w - how % 3)),
    "turned": lambda w, c, how: ({}, w),
    "cumulated": lambda w, c, how: ({}, w),
}  # fmt: skip


def shuffle(part, x, how):
    n, c, h, w = x.shape
    groups = divisor(int(c), how)
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def numbers(part, x, how):
    return (x + 0.5, 1 - x, x * 2, x / 4 - 1, -x, x.clamp(-1, 1), (x + 1).abs())[how % 7]


def tokens(part, x, how):
    shape = x.shape
    y = part("n")(x.flatten(2).transpose(1, 2))
    y = part("b")(F.gelu(part("a")(y))).transpose(1, 2)
    return x + y.reshape(shape)


STEPS = {
    **{name: lambda part, x, how: part("")(x) for name in (
        "conv", "reflected", "grouped", "depthwise", "norm", "group norm", "activation", "prelu", "pool")},
    "residual": lambda part, x, how: x + part("b")(part("a")(x).relu()),
    "projected": lambda part, x, how: part("b")(x) - part("a")(x).relu() if how % 2 else part("a")(x).add(part("b")(x)),
    "branches": lambda part, x, how: torch.cat([part("a")(x).relu(), part("b")(x).sigmoid()], 1),
    "gate": lambda part, x, how: x * part("b")(part("a")(x.mean((2, 3), keepdim=True)).relu()).sigmoid(),
    "halves": lambda part, x, how: (lambda a, b: a.sigmoid() * b)(*part("")(x).chunk(2, dim=1)),
    "shuffle": shuffle,
    "numbers": numbers,
    "scale": lambda part, x, how: x * part("")[0] + part("")[1],
    "tokens": tokens,
    "some": lambda part, x, how: x[:, : max(1, x.shape[1] - how % 3)],
    "turned": lambda part, x, how: torch.cat(x.chunk(2 + how % 3, 1)[:: -1 if how % 2 else 1], 1),
    "cumulated": lambda part, x, how: x.cumsum(1) if how % 2 else x.roll(1, 1),
}  # fmt: skip


def layouts():
    step = st.tuples(st.sampled_from(sorted(PARTS)), st.integers(2, 5), st.integers(0, 11))
    return st.lists(step, min_size=1, max_size=7).map(lambda steps: [("conv", 4, 1), ("activation", 0, 0), *steps])


def drawn(steps, seed=0):
    """The network in float64 and eval mode, with statistics that matter, and two samples."""
    torch.manual_seed(seed)
    net = Drawn(steps)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net.double().eval(), torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
