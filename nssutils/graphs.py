"""How a network computes, as a graph of operations (torch.fx) over its own modules.

A network is read off in two ways. First symbolically, which holds for inputs of every size. Where forward() asks for
sizes on its way (`if x.shape[1] == ...`), once more beside an example, whose shapes answer such questions; the batch
stays free. What depends on the values themselves cannot be read off, and is refused.
"""

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nssutils import operations, tracing


def general(traced: fx.GraphModule) -> bool:
    """Whether a traced network stands for inputs of every shape, not just for its example's."""
    return not any("beside" in node.meta for node in traced.graph.nodes)


def trace(net: nn.Module, x: Tensor | None = None) -> fx.GraphModule:
    """The network's dataflow graph; its modules are the network's own, not copies.

    `x` is an example (a batch of any size); where none is given and one is needed, it is guessed (`example`). What is
    traced already comes back as it is, so that a caller with many masks to try traces once. Raises UnsupportedNetwork
    for control flow that depends on values.
    """
    if isinstance(net, fx.GraphModule):
        return net if net.meta.get("functional") else tracing.functional(fx.GraphModule(net, copy.deepcopy(net.graph)))
    net, before = unwrapped(net), _drawn()
    traced = _traced(net, x)
    if _drawn() != before:
        _check_draws(net, x, traced)
    return traced


def _traced(net: nn.Module, x: Tensor | None) -> fx.GraphModule:
    """The graph by one run of forward()."""
    if lazy := [name for name, p in net.named_parameters() if nn.parameter.is_lazy(p)]:
        raise operations.UnsupportedNetwork(
            f"{lazy[0]!r} has no size yet, nor values: expected a network that has been called once, on some samples."
        )
    try:
        with _untouched(net):
            return tracing.functional(fx.GraphModule(net, tracing.Symbolic().trace(net)))
    except Exception as error:  # whatever forward() trips over when handed a symbolic tensor
        reason = error
    try:
        inputs = example(net) if x is None else x
    except operations.UnsupportedNetwork as error:
        raise operations.UnsupportedNetwork(
            f"the dataflow of {type(net).__name__} cannot be traced without an example ({_words(reason)}), and none "
            f"could be guessed: {error}"
        ) from reason
    try:
        with _untouched(net):
            return tracing.functional(fx.GraphModule(net, tracing.Concrete(inputs).trace(net)))
    except Exception as error:
        raise operations.UnsupportedNetwork(
            f"the dataflow of {type(net).__name__} cannot be traced ({_words(error)}). Expected a forward() of one "
            "tensor, whose path does not depend on the values in it; a network of several inputs can be called by a "
            "module around it that takes them in one."
        ) from error


REDRAWN = 8  # how often forward() is read off anew where it draws: by so many coins one falls otherwise


def _drawn() -> tuple:
    """Where the generators stand that a forward() may draw from."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return hash(torch.random.get_rng_state().numpy().tobytes()), hash(random.getstate()), hash(keys.tobytes()), *rest


def _check_draws(net: nn.Module, x: Tensor | None, traced: fx.GraphModule) -> None:
    """Raise UnsupportedNetwork where a graph has what forward() drew while it was read off: it would draw no more."""
    for _ in range(REDRAWN):
        if not same(traced, _traced(net, x)):
            raise operations.UnsupportedNetwork(
                f"forward() of {type(net).__name__}{' in training mode' if net.training else ''} draws at random which "
                "way it goes, or numbers that it goes on by, and a graph would keep what it drew; expected modules "
                "that draw, such as nn.Dropout or torchvision.ops.StochasticDepth."
            )


def steps(nodes: Iterable[fx.Node]) -> list[tuple]:
    """What each of a graph's nodes does: its kind, what it calls or reads, and on what, nodes by their places."""
    place = {node: f"%{i}" for i, node in enumerate(nodes)}
    return [
        (node.op, getattr(node.target, "of", node.target), *fx.map_arg((node.args, node.kwargs), place.get))
        for node in place
    ]


def reads_alike(one: fx.GraphModule, node: fx.Node, other: fx.GraphModule, its: fx.Node) -> bool:
    """Whether nodes of two graphs read the same parameter, buffer or constant, by whatever name."""
    a, b = operations.attribute(one, node.target), operations.attribute(other, its.target)
    return a is b or (isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b))


def same(one: fx.GraphModule, other: fx.GraphModule) -> bool:
    """Whether two graphs do the same, with the same constants."""
    ours, theirs = list(one.graph.nodes), list(other.graph.nodes)
    return len(ours) == len(theirs) and all(
        reads_alike(one, node, other, its) if node.op == its.op == "get_attr" else does == do
        for node, its, does, do in zip(ours, theirs, steps(ours), steps(theirs), strict=True)
    )


@torch.no_grad()
def seen(net: nn.Module, x: Tensor) -> fx.GraphModule:
    """`trace` of a network in eval mode, seen to give what forward() gives for the samples x (N, ...). Raises
    UnsupportedNetwork where it does not, unless forward() itself gives something else the next time."""
    traced = trace(net, x)
    try:
        wanted = net(x.clone())  # which forward() may change
    except RuntimeError as error:
        types = {p.dtype for p in net.parameters() if p.is_floating_point()}
        if not types or x.dtype in types:
            raise operations.UnsupportedNetwork(
                f"{type(net).__name__} does not take a batch of samples {tuple(x.shape[1:])} ({_words(error)})."
            ) from error
        own = " or ".join(sorted(map(str, types)))
        raise operations.UnsupportedNetwork(
            f"{type(net).__name__} of {own} does not take samples of {x.dtype} ({_words(error)}); expected x.to({own})."
        ) from error
    _check_alike(net, type(net).__name__, traced, x, wanted)
    return traced


def _check_alike(net: Callable, name: str, traced: fx.GraphModule, x: Tensor, wanted) -> None:
    """Raise UnsupportedNetwork where a graph gives other outputs for x than `net`, which gave those that are wanted."""
    off = differ(wanted, run(traced, {}, x))
    if off and not differ(wanted, net(x.clone())):
        raise operations.UnsupportedNetwork(
            f"read off as a graph, {name} gives other outputs than by itself: {off}. Expected a "
            "forward() whose path does not depend on what it is called with, and no hooks on the network as a whole."
        )


@torch.no_grad()
def check_forward(net: nn.Module, traced: fx.GraphModule, x: Tensor) -> bool:
    """As `seen`, of a network whose hooks are called whatever becomes of its forward(). Whether it could be seen: not
    where torch compiles, records or maps a function, nor of shapes alone."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not _readable(x):
        return False
    inner = unwrapped(net)
    forward = inner.forward if inner is net else inner
    with _untouched(net):
        wanted = forward(x.clone())
        if not all(map(_readable, _tensors(wanted))):  # the parameters are mapped
            return False
        _check_alike(forward, type(inner).__name__, traced, x, wanted)
    return True


def _readable(x: Tensor) -> bool:
    """Whether there are numbers in a tensor, and at hand."""
    try:
        x[:1].sum().item()
    except RuntimeError:
        return False
    return True


def differ(wanted, found) -> str:
    """How far two outputs are apart, tensors or several of them; nothing where they agree to half their digits."""
    ones, others = _tensors(wanted), _tensors(found)
    if len(ones) != len(others):
        return f"they are {len(ones)} and {len(others)} tensors"
    for a, b in zip(ones, others, strict=True):
        if a.shape != b.shape:
            return f"they are {tuple(a.shape)} and {tuple(b.shape)}"
        if a.is_floating_point() and a.numel():
            eps = torch.finfo(a.dtype).eps
            a, b = a.double(), b.double()
            apart = torch.where(a == b, 0, a - b)  # and so of two that are infinite
            off, size = apart.abs().max().item(), a[a.isfinite()].abs().amax().item() if a.isfinite().any() else 0.0
            if not off <= eps**0.5 * max(size, 1e-30):
                return f"they differ by {off:.3g}, of {size:.3g}"
        elif not torch.equal(a, b):
            return f"{(a != b).sum()} of {a.numel()} whole numbers differ"
    return "" if ones else f"a {type(wanted).__name__} has no tensor to be compared"


def _tensors(outputs) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    if is_dataclass(outputs) and not isinstance(outputs, dict):
        outputs = vars(outputs)
    parts = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


@contextmanager
def _untouched(net: nn.Module) -> Iterator[None]:
    """Within the block forward() may keep what it likes, as a cache of position biases; afterwards the modules hold
    what they held, and no symbol that stood for a value."""
    kept = []
    for module in net.modules():
        own = dict(vars(module))
        kept.append((module, own, {name: copy.copy(v) for name, v in own.items() if type(v) in (dict, list, set)}))
    try:
        yield
    finally:
        for module, before, contents in kept:
            vars(module).clear()
            vars(module).update(before)
            for name, content in contents.items():
                held = before[name]
                held.clear()
                held.extend(content) if isinstance(held, list) else held.update(content)


def unwrapped(net: nn.Module) -> nn.Module:
    """The network within DataParallel, DistributedDataParallel or torch.compile."""
    while True:
        if isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
            net = net.module
        elif hasattr(net, "_orig_mod"):
            net = net._orig_mod
        else:
            return net


def copied(net: nn.Module, memo: dict | None = None) -> nn.Module:
    """A copy of a network; `memo` is as of copy.deepcopy. What forward() keeps of its last call is copied by value."""
    kept = [value for module in net.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    values = {id(value): value.detach().clone() for value in kept if not value.is_leaf}
    return copy.deepcopy(net, values | (memo or {}))


def put(net: nn.Module, others: dict[str, nn.Module]) -> None:
    """Put each of the modules in the place of the one of its name, under every name that this has."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    places = {name: same for same in names.values() for name in same}
    for name, module in others.items():
        for place in places.get(name, [name]):
            net.set_submodule(place, module)


def example(net: nn.Module) -> Tensor:
    """A batch of two such as the network takes, on the meta device: guessed from its first weighted module, and
    for images by trying usual sizes. Raises UnsupportedNetwork where none passes."""
    first = next(
        (module for module in net.modules() if operations.behaves_as(module, operations.MODULES["weighted"])), None
    )
    if first is None:
        raise operations.UnsupportedNetwork(f"{type(net).__name__} has no Linear or convolution.")
    if isinstance(first, nn.Linear):
        shapes = [(first.in_features,)]
    else:
        dims, channels = len(first.kernel_size), first.in_channels
        sizes = (32, 28, 64, 96, 128, 224, 16, 8, *range(1, 64), *range(80, 513, 16), 299)
        shapes = [(channels, *[size] * dims) for size in sizes]
    tried = []
    for shape in shapes:
        x = torch.zeros(2, *shape, dtype=next(net.parameters()).dtype, device="meta")
        if not (why := fails(net, x)):
            return x
        tried.append(f"{tuple(x.shape)}: {why}")
    raise operations.UnsupportedNetwork(
        f"{type(net).__name__} took no batch of a usual size ({'; '.join(tried[:2])}). Give an example: x=..."
    )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def _shape_only(net: nn.Module, x: Tensor):
    """What the network makes of x, as shapes without values: its parameters and buffers are read and not changed."""
    counts = [(buffer, buffer.clone()) for buffer in net.buffers() if not buffer.is_floating_point()]
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _untouched(net):
            run_ = _Seen(net, {}).run if isinstance(net, fx.GraphModule) else net
            return run_(torch.empty(x.shape, dtype=x.dtype, device=operations.device(net)))
    finally:
        for buffer, before in counts:  # a normalisation counts its batches, even of shapes
            buffer.copy_(before)


def fails(net: nn.Module, x: Tensor) -> str:
    """Why the network cannot run on a batch such as x, as far as shapes tell; nothing where it can."""
    try:
        _shape_only(net, x)
    except Exception as error:
        return _words(error)
    return ""


def like(traced: fx.GraphModule) -> tuple[int, ...]:
    """The shape of one sample of the inputs for which a traced network has its `shapes`."""
    return tuple(next(iter(traced.graph.nodes)).meta["shape"][1:])


def shapes(traced: fx.GraphModule, x: Tensor | None = None) -> fx.GraphModule:
    """The traced network with `meta["shape"]` on each node: a tensor's torch.Size for a batch of `tracing.BATCH`, a
    tuple of such for several, a number for a size, None for the rest; and a tensor's `meta["dtype"]`. Done once; `x` is
    an example, guessed where none is given."""
    nodes = list(traced.graph.nodes)
    if "shape" in nodes[0].meta:
        return traced
    if all("beside" in node.meta for node in nodes if node.op != "output"):
        values = {node: node.meta.get("beside") for node in nodes}
    else:
        x = example(traced) if x is None else x
        values: dict = {}
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
                _Seen(traced, values).run(
                    torch.empty(tracing.BATCH, *x.shape[1:], dtype=x.dtype, device=operations.device(traced))
                )
        except DataDependentOutputException as error:
            raise operations.UnsupportedNetwork(
                f"forward() takes numbers out of tensors ({error}); expected values that stay tensors."
            ) from error
        except (RuntimeError, ValueError, TypeError) as error:
            raise operations.UnsupportedNetwork(
                f"the network does not take a batch of samples {tuple(x.shape[1:])} ({_words(error)})."
            ) from error
    for node in nodes:
        node.meta["shape"], node.meta["dtype"] = _shape(values.get(node)), getattr(values.get(node), "dtype", None)
    return traced


def _shape(value):
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return tuple(_shape(part) for part in value)
    return value if isinstance(value, int | float | torch.Size) else None


class _Seen(fx.Interpreter):
    """Runs shapes through a network; what keeps a shape is not computed."""

    def __init__(self, traced: fx.GraphModule, values: dict):
        super().__init__(traced)
        self.values, self.extra_traceback = values, False

    def run_node(self, node: fx.Node):
        weighted = operations.kind(self.module, node) == "weighted"
        if weighted or operations.alike(self.module, node):
            args, kwargs = self.fetch_args_kwargs_from_env(node)
            value = args[0] if args else kwargs["input"]
            if weighted:
                value = value.new_empty(_shape_behind(self.module.get_submodule(node.target), value.shape))
        else:
            value = super().run_node(node)
        self.values[node] = value
        return value


def _shape_behind(module: nn.Module, shape: torch.Size) -> list[int]:
    """The shape of a Linear's or convolution's output."""
    if isinstance(module, nn.Linear):
        if shape[-1] != module.in_features:
            raise ValueError(f"{tuple(shape)} meets a Linear of {module.in_features} inputs")
        return [*shape[:-1], module.out_features]
    dims = len(module.kernel_size)
    if len(shape) != dims + 2 or shape[1] != module.in_channels:
        raise ValueError(f"{tuple(shape)} meets a convolution of {module.in_channels} channels")
    if module.padding == "same":
        return [shape[0], module.out_channels, *shape[2:]]
    padding = [0] * dims if module.padding == "valid" else module.padding
    sizes = zip(shape[2:], module.kernel_size, module.stride, padding, module.dilation, strict=True)
    space = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
    if min(space) < 1:
        raise ValueError(f"{tuple(shape)} is smaller than a kernel of {module.kernel_size}")
    return [shape[0], module.out_channels, *space]


def run(traced: fx.GraphModule, at: dict[str, Callable[[Tensor], Tensor | None]], x: Tensor) -> Tensor:
    """The network's output for x; `at[node]` is shown that node's value and may return another to go on with."""
    return Visitor(traced, at).run(x)


class Visitor(fx.Interpreter):
    """Runs a traced network node by node; `at` is as in `run`."""

    def __init__(self, traced: fx.GraphModule, at: dict[str, Callable[[Tensor], Tensor | None]]):
        super().__init__(traced)
        self.at = at
        self.extra_traceback = False  # an error's own words say enough; torch would add a page on the graph

    def run_node(self, node: fx.Node):
        return self.visit(node, super().run_node(node))

    def visit(self, node: fx.Node, value):
        """The node's value, or what its visitor puts in its place."""
        visitor = self.at.get(node.name)
        replaced = visitor(value) if visitor else None
        return value if replaced is None else replaced


def values(traced: fx.GraphModule, x: Tensor) -> tuple[dict[fx.Node, object], Tensor]:
    """Each node's value for x as it was, whatever is overwritten in place later; and the output."""
    keeper = _Keeper(traced)
    out = keeper.run(x)
    return keeper.values, out


class _Keeper(Visitor):
    def __init__(self, traced: fx.GraphModule):
        super().__init__(traced, {})
        self.values: dict[fx.Node, object] = {}

    def visit(self, node: fx.Node, value):
        self.values[node] = value.clone() if isinstance(value, Tensor) else value
        return value
