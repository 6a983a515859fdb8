"""The reduced arithmetic: small maps by products of matrices are convolutions, and nothing else changes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from nssutils import arithmetic

SIDE = st.integers(1, 6)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(SIDE, SIDE), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), padding=st.integers(0, 2),
    stride=st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3)), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    biased=st.booleans(),
)  # fmt: skip
def test_a_product_is_the_convolution_and_so_are_its_gradients(size, kernel, padding, stride, biased):
    kernel = tuple(min(n, side + 2 * padding) for n, side in zip(kernel, size, strict=True))
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, *size).double(), torch.randn(4, 3, *kernel).double()
    given_ = [x, weight, torch.randn(4).double() if biased else None]
    tensors = [each.requires_grad_() for each in given_ if each is not None]
    wanted, found = F.conv2d(*given_, stride, padding), arithmetic.by_product(*given_, stride, padding)
    torch.testing.assert_close(found, wanted)
    factors = torch.randn_like(wanted)
    for mine, theirs in zip(
        torch.autograd.grad((found * factors).sum(), tensors),
        torch.autograd.grad((wanted * factors).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def small_maps() -> nn.Sequential:
    """Convolutions of 8 x 8, 4 x 4, 4 x 4 and 2 x 2 places; the third has few weights, the last has groups."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(64, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 512, 3, padding=1, groups=2),
        nn.Flatten(), nn.Linear(2048, 10),
    )  # fmt: skip


@pytest.fixture
def products(monkeypatch):
    """The shapes of the maps whose convolutions are computed as products."""
    shapes, plain = [], arithmetic.by_product

    def counted(x, *more):
        shapes.append(tuple(x.shape))
        return plain(x, *more)

    monkeypatch.setattr(arithmetic, "by_product", counted)
    return shapes


def test_only_small_maps_of_many_weights_are_products(products):
    net, x, cpu = small_maps(), torch.rand(5, 64, 8, 8), torch.device("cpu")
    wanted = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(x)
    with arithmetic.reduced(cpu):
        found = net(x)
    assert products == [(5, 256, 4, 4)]
    assert found.dtype == torch.bfloat16
    # As far from fp32 as autocast by itself is, give or take the last bit.
    error, its = ((each.float() - wanted).abs().max() for each in (found, rounded))
    assert error <= 2 * its + 2**-8 * wanted.abs().max()
    with arithmetic.reduced(cpu, False):
        assert torch.equal(net(x), wanted)
    assert torch.equal(net(x), wanted) and len(products) == 1


def test_gradients_of_small_maps_are_as_exact_as_autocast_s(products):
    net, x = small_maps(), torch.rand(5, 64, 8, 8)

    def gradients(context):
        with context:
            loss = F.cross_entropy(net(x), torch.arange(5))
        return torch.autograd.grad(loss, list(net.parameters()))

    wanted = gradients(arithmetic.reduced(torch.device("cpu"), False))
    rounded = gradients(torch.autocast("cpu", torch.bfloat16))
    found = gradients(arithmetic.reduced(torch.device("cpu")))
    assert products
    for exact, theirs, ours in zip(wanted, rounded, found, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - exact).norm() <= 1.5 * (theirs - exact).norm() + 1e-6
