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


@pytest.fixture
def without_bf16(monkeypatch):
    """A processor without instructions for bf16; what it rounds for, by name."""
    rounded, plain = [], arithmetic.by_rounding

    def counted(function, *args):
        rounded.append(function.__name__)
        return plain(function, *args)

    monkeypatch.setattr(arithmetic, "takes_bf16", lambda: False)
    monkeypatch.setattr(arithmetic, "by_rounding", counted)
    return rounded


def exact(size: tuple[int, ...], values: int) -> torch.Tensor:
    """Whole numbers up to `values`, whose products and sums fp32 has exactly, whatever the order."""
    return torch.randint(-values, values + 1, size).float()


def test_rounding_is_bf16_to_the_last_bit_where_the_order_of_sums_is_no_matter(without_bf16):
    torch.manual_seed(0)
    x, weight, bias = exact((5, 6, 7, 7), 3), exact((4, 6, 3, 3), 3), exact((4,), 3)
    flat, square = exact((5, 9), 3), exact((4, 9), 3)
    for function, args in (
        (F.conv2d, (x, weight, bias, 2, 1)),
        (F.linear, (flat, square)),
        (F.linear, (flat, square, bias)),
    ):
        tensors = [each.requires_grad_() for each in args if isinstance(each, torch.Tensor)]

        def outcome(context, function=function, args=args, tensors=tensors):
            with context:
                outputs = function(*args)
            assert outputs.dtype == torch.bfloat16
            torch.manual_seed(1)
            return [outputs, *torch.autograd.grad((outputs * exact(outputs.shape, 2)).sum(), tensors)]

        wanted = outcome(torch.autocast("cpu", torch.bfloat16))
        for theirs, ours in zip(wanted, outcome(arithmetic.reduced(torch.device("cpu"))), strict=True):
            assert theirs.dtype == ours.dtype and torch.equal(theirs, ours)
    assert without_bf16 == ["conv2d", "linear", "linear"]


def test_what_is_multiplied_is_rounded_before_and_the_sum_after(without_bf16):
    # bf16 has 8 bits: 257 is 256 in it, and so is 256 + 1.
    x, weight = torch.tensor([[257.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    with arithmetic.reduced(torch.device("cpu")):
        assert F.linear(x, weight).item() == 256.0
    assert F.linear(x, weight).item() == 258.0 and without_bf16 == ["linear"]


def test_small_maps_and_a_whole_network_are_rounded_as_exactly_as_by_autocast(without_bf16, products):
    net, x = small_maps(), torch.rand(5, 64, 8, 8)
    wanted = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        theirs = net(x)
    with arithmetic.reduced(torch.device("cpu")):
        ours = net(x)
    error, its = ((each.float() - wanted).abs().max() for each in (ours, theirs))
    assert error <= 2 * its + 2**-8 * wanted.abs().max()
    assert len(without_bf16) == 5 and without_bf16.count("counted") == len(products) == 1


def test_nothing_is_rounded_where_bf16_is_taken_nor_in_another_precision(monkeypatch):
    def forbidden(*_):
        raise AssertionError("rounded")

    monkeypatch.setattr(arithmetic, "by_rounding", forbidden)
    x, weight = torch.rand(8, 16), torch.rand(4, 16)
    with arithmetic.reduced(torch.device("cpu")):
        monkeypatch.setattr(arithmetic, "takes_bf16", lambda: True)
        assert F.linear(x, weight).dtype == torch.bfloat16
        monkeypatch.setattr(arithmetic, "takes_bf16", lambda: False)
        assert F.linear(x.double(), weight.double()).dtype == torch.float64
        with pytest.raises(AssertionError, match="rounded"):
            F.linear(x, weight)


def test_this_processor_rounds_where_its_library_does_not_take_bf16(monkeypatch):
    rounded, plain = [], arithmetic.by_rounding
    monkeypatch.setattr(arithmetic, "by_rounding", lambda *args: rounded.append(1) or plain(*args))
    with arithmetic.reduced(torch.device("cpu")):
        assert F.linear(torch.rand(8, 16), torch.rand(4, 16)).dtype == torch.bfloat16
    assert bool(rounded) != torch.ops.mkldnn._is_mkldnn_bf16_supported()
