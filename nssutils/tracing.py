"""Read a network off: run its forward() on symbols in place of tensors, and keep each operation that they meet."""

import builtins
import dis
import inspect
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules import padding
from torch.utils import checkpoint
from torchvision import ops

from nssutils import operations


class Symbolic(fx.Tracer):
    """fx's tracer whose leaves are torch.nn's layers and subclasses that compute as they do."""

    proxy_buffer_attributes = True

    def trace(self, net: nn.Module, *args) -> fx.Graph:
        self.precision = _autocast()
        with _answered(), _recorded(), torch.enable_grad():
            return super().trace(net, *args)

    def create_proxy(self, op, target, args, kwargs, *more, **options):
        if _autocast() != self.precision:
            raise operations.UnsupportedNetwork(
                "forward() turns autocast on or off on its way; expected around the call: with autocast(): net(x)"
            )
        named = getattr(torch, target, None) if op == "call_method" else target
        if op in ("call_function", "call_method") and named in _SPELLED_OUT:
            return _SPELLED_OUT[named](*args, **kwargs)
        args, kwargs = positional(self.root, op, target, args, kwargs)
        proxy = super().create_proxy(op, target, args, kwargs, *more, **options)
        proxy.node.meta["no_grad"] = not torch.is_grad_enabled()
        return proxy

    def create_args_for_root(self, forward, is_module: bool, concrete_args=None):
        """forward() on one symbol, whatever else it takes at its default."""
        own = vars(self.root).get("forward")  # put in the place of its class's
        own = getattr(own, "own", own)  # where it is masked at the time, what stands behind the masks
        replaced = own is not None
        first, *others = list(inspect.signature(own if replaced else forward).parameters.values())[not replaced :]
        named = [p for p in others if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        needed = [p.name for p in named if p.default is p.empty]
        if needed:
            raise operations.UnsupportedNetwork(f"forward() wants {', '.join(needed)} besides {first.name}")
        arguments = [self.root, self.create_proxy("placeholder", first.name, (), {})]
        return (lambda _, x: own(x)) if replaced else forward, arguments

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return is_leaf(module)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Symbol(node, self)

    def create_arg(self, a):
        return a.node if isinstance(a, fx.Proxy) else super().create_arg(a)

    def type_of(self, proxy: fx.Proxy) -> type:
        """What a symbol stands for, as isinstance() in a forward() asks."""
        if proxy.node.op == "placeholder":
            return Tensor
        raise operations.UnsupportedNetwork("forward() asks for the type of a value")  # an example can tell

    def has(self, proxy: fx.Proxy, name: str) -> bool:
        """Whether what a symbol stands for has an attribute that tensors lack."""
        return hasattr(self.type_of(proxy), name)


def _glu(input, dim: int = -1):
    halves = torch.chunk(input, 2, dim)
    return halves[0] * torch.sigmoid(halves[1])


def _softmin(input, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None):
    return F.softmax(-input, dim, dtype=dtype)


def _addcmul(input, tensor1, tensor2, *, value: float = 1):
    return input + value * (tensor1 * tensor2)


def _addcdiv(input, tensor1, tensor2, *, value: float = 1):
    return input + value * (tensor1 / tensor2)


def _addmm(input, mat1, mat2, *, beta: float = 1, alpha: float = 1):
    return beta * input + alpha * torch.matmul(mat1, mat2)


def _lerp(input, end, weight):
    return input + weight * (end - input)


def _rsub(input, other, *, alpha: float = 1):
    return other - alpha * input


# Operations that are read off as the ones they are made of, or by another name of theirs, so that what is known of
# these holds for them. As methods they are the same.
_SPELLED_OUT = {
    F.glu: _glu, F.softmin: _softmin, torch.addcmul: _addcmul, torch.addcdiv: _addcdiv, torch.addmm: _addmm,
    torch.lerp: _lerp, torch.rsub: _rsub, torch.clip: torch.clamp, torch.absolute: torch.abs,
    torch.negative: torch.neg, torch.subtract: torch.sub, torch.divide: torch.div, torch.true_divide: torch.div,
    torch.multiply: torch.mul, torch.mm: torch.matmul, torch.swapdims: torch.transpose, torch.moveaxis: torch.movedim,
    torch.special.expit: torch.sigmoid, torch.arctan: torch.atan,
}  # fmt: skip

# What torch's functions call the operands that rules look for in their places, and numpy's words for some arguments.
_FIRST, _SECOND = ("input", "tensors", "tensor", "query"), ("other", "mat2", "exponent", "shape")
_NUMPYS = {"axis": "dim", "keepdims": "keepdim"}


def positional(root: nn.Module, op: str, target, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of a call with its operands in their places, whether they were given by name or not."""
    if not kwargs or op not in ("call_module", "call_function", "call_method"):
        return args, kwargs
    kwargs = dict(kwargs)
    if op == "call_module":
        first = next(iter(inspect.signature(root.get_submodule(target).forward).parameters), None)
        return ((kwargs.pop(first),), kwargs) if not args and first in kwargs else (args, kwargs)
    if not operations.known(op, target):
        return args, kwargs
    kwargs = {_NUMPYS.get(name, name): value for name, value in kwargs.items()}
    for i, names in enumerate((_FIRST, _SECOND)):
        given = next((name for name in names if name in kwargs), None)
        if given is not None and len(args) == i:
            args = (*args, kwargs.pop(given))
    return args, kwargs


class _Symbol(fx.Proxy):
    """A symbolic value that isinstance() takes for what it stands for (`_answered`), so that forward() goes the way
    that it does."""

    @property
    def __class__(self) -> type:
        # Torch's code in C asks, too, and would read a tensor's memory behind it: to that it is no tensor.
        frame = sys._getframe(1)
        if frame.f_code.co_code[frame.f_lasti] == dis.opmap["MATCH_CLASS"]:
            raise operations.UnsupportedNetwork("forward() asks for the class of a value by `match`")
        return type(self)

    def __getattr__(self, name: str):
        if not hasattr(Tensor, name) and not self.tracer.has(self, name):
            raise AttributeError(f"{self.node.name} has no attribute {name!r}")
        return super().__getattr__(name)

    def __setitem__(self, at, value) -> None:
        self.tracer.create_proxy("call_function", operations.written, (self, at, value), {})


def _augmented(change: Callable, name: str) -> Callable:
    """y += z as what it is: y is changed, and with it what shares its memory (fx would make a new value)."""

    def augmented(self: _Symbol, other) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", change, (self, other), {}, name)

    return augmented


for _change, _anew in operations.AUGMENTED.items():
    setattr(_Symbol, f"__{_change.__name__}__", _augmented(_change, _anew.__name__))


@contextmanager
def _answered() -> Iterator[None]:
    """Within the block isinstance() takes a symbol for what it stands for."""
    plain = builtins.isinstance

    def answer(value, types) -> bool:
        own = type(value)
        if not issubclass(own, _Symbol):
            return plain(value, types)
        # What checkpoint() finds to be a tensor it keeps for a backward pass, which there is not.
        if issubclass(own, types) or sys._getframe(1).f_globals.get("__name__") == "torch.utils.checkpoint":
            return issubclass(own, types)
        return issubclass(value.tracer.type_of(value), types)

    builtins.isinstance = answer
    try:
        yield
    finally:
        builtins.isinstance = plain


@contextmanager
def _recorded() -> Iterator[None]:
    """Within the block a user's autograd.Function is one operation, and a checkpoint what it calls."""
    plain = vars(torch.autograd.Function)["apply"]

    def record(function: type, *args):
        if function is checkpoint.CheckpointFunction:
            return args[0](*args[2:])
        symbol = next((a for a in args if issubclass(type(a), _Symbol)), None)
        if symbol is None or getattr(symbol.tracer, "computing", False):
            return plain.__get__(None, function)(*args)

        def apply(*args):
            return function.apply(*args)

        apply.__name__, apply.__module__, apply.of = function.__name__, function.__module__, function
        return symbol.tracer.create_proxy("call_function", apply, args, {})

    torch.autograd.Function.apply = classmethod(record)
    try:
        yield
    finally:
        torch.autograd.Function.apply = plain


def _autocast() -> list[tuple]:
    """Whether torch computes in another precision than asked for, and in which, by device."""
    return [(torch.is_autocast_enabled(each), torch.get_autocast_dtype(each)) for each in ("cpu", "cuda")]


_WITHIN = (
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.Transformer,
    nn.TransformerDecoder, nn.TransformerDecoderLayer, nn.GLU, nn.Softmin, nn.Softmax2d, padding._ConstantPadNd,
    padding._ReflectionPadNd, padding._ReplicationPadNd, padding._CircularPadNd,
)  # fmt: skip


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one operation: torch's layers, what inherits their forward(), stochastic depth."""
    if isinstance(module, _WITHIN):
        return False
    of = next((base for base in type(module).__mro__ if "forward" in vars(base)), type(module))
    if of is nn.Module:  # its forward() is put into each by itself
        return False
    return of.__module__.startswith(("torch.nn.", "torch.ao.")) or isinstance(module, ops.StochasticDepth)


# A batch that no other size of a network is likely to be a multiple of: it tells the batch's sizes from all others.
# Only shapes are made of it, no values.
BATCH = 10_007
OTHERS = (1, 2, 5040)  # batches at which forward() is to go the same way; many numbers divide the last one


class Concrete(Symbolic):
    """Traces beside an example's shapes: sizes are numbers, those of the batch symbols with a number at hand."""

    def __init__(self, x: Tensor):
        super().__init__()
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.like, self.computing = x, False
        self.at: dict[int, dict[fx.Node, object]] = {n: {} for n in OTHERS}  # what nodes give for other batches

    def trace(self, net: nn.Module, *args) -> fx.Graph:
        _tell_einops()
        with _factories():
            return super().trace(net, *args)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Beside(node, self)

    def type_of(self, proxy: fx.Proxy) -> type:
        return Tensor if isinstance(proxy.value, Tensor) else type(proxy.value)

    def has(self, proxy: fx.Proxy, name: str) -> bool:
        return hasattr(proxy.value, name)

    def create_proxy(self, op, target, args, kwargs, *more, **options):
        proxy = super().create_proxy(op, target, args, kwargs, *more, **options)
        proxy.value = self._value(proxy.node)
        return proxy

    def call_module(self, module, forward, args, kwargs):
        return forward(*args, **kwargs) if self.computing else super().call_module(module, forward, args, kwargs)

    def getattr(self, attr, attr_val, cache):
        return attr_val if self.computing else super().getattr(attr, attr_val, cache)

    def _of(self, node: fx.Node):
        # A tensor that forward() makes by itself becomes a node without ado.
        if "beside" not in node.meta:
            self._value(node)
        return node.meta["beside"]

    def _value(self, node: fx.Node):
        """What the node gives on the example, as a shape without values."""
        node.meta["beside"] = self._computed(node, BATCH, self._of)
        return node.meta["beside"]

    def settled(self, node: fx.Node, read: Callable):
        """What `read` says of the node's value, if it says the same for batches of every size."""
        said = read(self._of(node))
        for batch in OTHERS:
            try:
                other = read(self._at(node, batch))
            except Exception:  # forward() does not get here with such a batch
                continue
            if other != said:
                raise operations.UnsupportedNetwork("forward() goes on by a number that depends on the batch")
        return said

    def _at(self, node: fx.Node, batch: int):
        """The node's value for another batch."""
        known, ahead, needed = self.at[batch], [node], set()
        while ahead:
            here = ahead.pop()
            if here not in known and here not in needed:
                needed.add(here)
                ahead += here.all_input_nodes
        for each in self.graph.nodes:
            if each in needed:
                known[each] = self._computed(each, batch, known.get)
        return known[node]

    def _computed(self, node: fx.Node, batch: int, of: Callable):
        args, kwargs = fx.map_arg((node.args, node.kwargs), of)
        self.computing = True
        try:
            with self.mode, torch.no_grad():
                if node.op == "placeholder":
                    shape = (batch, *self.like.shape[1:])
                    value = torch.empty(shape, dtype=self.like.dtype, device=operations.device(self.root))
                elif operations.alike(self.root, node):
                    value = args[0] if args else kwargs["input"]
                elif node.op == "get_attr":
                    value = operations.attribute(self.root, node.target)
                elif node.op == "call_module":
                    value = self.root.get_submodule(node.target)(*args, **kwargs)
                elif node.op == "call_method":
                    value = getattr(args[0], node.target)(*args[1:], **kwargs)
                elif node.op == "call_function":
                    value = node.target(*args, **kwargs)
                else:
                    value = None
        finally:
            self.computing = False
        return value

    def to_bool(self, proxy):
        if isinstance(proxy.value, Tensor):
            return super().to_bool(proxy)  # raises: a path that depends on values
        return self.settled(proxy.node, bool)

    def iter(self, proxy):
        if isinstance(proxy.value, Tensor):
            if len(proxy.value) % BATCH == 0:
                raise operations.UnsupportedNetwork("forward() takes a batch apart, sample by sample")
            return iter(proxy[i] for i in range(len(proxy.value)))
        # Parts that have the batch as a whole are as many for each; it is faster not to look.
        whole = all(isinstance(part, Tensor) and any(n % BATCH == 0 for n in part.shape) for part in proxy.value)
        return iter([proxy[i] for i in range(len(proxy.value) if whole else self.settled(proxy.node, len))])


# What an example tells of a tensor, beside its shape.
_KNOWN = ("ndim", "dtype", "device", "layout", "is_cuda", "is_nested", "is_sparse", "is_mkldnn", "requires_grad")


class _Beside(_Symbol):
    """A symbolic value whose shape on the example is at hand."""

    value = None

    def __getattr__(self, name: str):
        value = self.__dict__.get("value")
        if isinstance(value, Tensor):
            if name == "shape":
                return self.size()
            if name in _KNOWN:
                return getattr(value, name)
            if name == "is_meta":
                return False
        return super().__getattr__(name)

    def size(self, dim: int | None = None):
        def one(i: int):
            n = self.value.shape[i]
            return n if n % BATCH else self.tracer.create_proxy("call_method", "size", (self, i), {})

        return one(dim) if dim is not None else _Sizes(one(i) for i in range(self.value.dim()))

    def dim(self) -> int:
        return self.value.dim()

    def is_floating_point(self) -> bool:
        return self.value.is_floating_point()

    def __len__(self) -> int:
        if isinstance(self.value, Tensor) and len(self.value) % BATCH == 0:
            raise operations.UnsupportedNetwork("forward() asks for len() of a batch to go on by: x.shape[0] will do")
        return self.tracer.settled(self.node, len)

    def __int__(self) -> int:
        return self.__index__()

    def __index__(self) -> int:
        if isinstance(self.value, Tensor):
            raise operations.UnsupportedNetwork("forward() takes a number out of a tensor")
        return self.tracer.settled(self.node, int)


class _Sizes(tuple):
    """A shape whose batch is a symbol."""

    def numel(self):
        return torch.Size(self).numel() if all(isinstance(n, int) for n in self) else _product(self)


def _product(numbers):
    total = 1
    for number in numbers:
        total = number * total
    return total


def _tell_einops() -> None:
    """Where einops is in use, let its functions take a symbol for what it is: they look up how to reshape by type."""
    if backends := sys.modules.get("einops._backends"):
        backends._type2backend[_Beside] = backends.get_backend(torch.empty(0))


@contextmanager
def _factories() -> Iterator[None]:
    """Within the block torch's functions that make tensors take symbolic sizes, which they cannot by themselves."""
    names = ("arange", "zeros", "ones", "full", "empty", "rand", "randn", "linspace")
    made = {name: getattr(torch, name) for name in names}

    def symbolic(value) -> fx.Proxy | None:
        if isinstance(value, fx.Proxy):
            return value
        parts = value if isinstance(value, tuple | list) else ()
        return next((part for part in parts if isinstance(part, fx.Proxy)), None)

    def taking(function: Callable) -> Callable:
        def make(*args, **kwargs):
            proxy = next(filter(None, map(symbolic, (*args, *kwargs.values()))), None)
            if proxy is None or getattr(proxy.tracer, "computing", False):
                return function(*args, **kwargs)
            return proxy.tracer.create_proxy("call_function", function, args, kwargs)

        return make

    for name, function in made.items():
        setattr(torch, name, taking(function))
    try:
        yield
    finally:
        for name, function in made.items():
            setattr(torch, name, function)


def functional(traced: fx.GraphModule) -> fx.GraphModule:
    """The graph with values that an operation changes in place read from that operation by all who come after, and that
    leaves what it is called with as it is."""
    moved = _numbers_anew(traced) | _copies_what_it_changes(traced)
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    for node in list(traced.graph.nodes):
        args, kwargs = positional(traced, node.op, node.target, node.args, node.kwargs)
        if kwargs != node.kwargs:  # of a graph that a user read off
            node.args, node.kwargs, moved = args, kwargs, True
        if node.kwargs.get("out") is not None or node.target in (operator.setitem, operator.delitem):
            raise operations.UnsupportedNetwork(
                f"{node.name!r} writes into a tensor; expected a forward() that makes new ones."
            )
        if operations.in_place(traced, node) and isinstance(base := node.args[0], fx.Node):
            later = [user for user in base.users if order[user] > order[node]]
            moved |= bool(later)
            for user in later:
                user.replace_input_with(base, node)
            for other in _sharing(traced, base) - {base, node}:
                if order[other] < order[node] and any(order[user] > order[node] for user in other.users):
                    raise operations.UnsupportedNetwork(
                        f"{node.name!r} changes {other.name!r}, too, which shares its memory and is read afterwards; "
                        "expected a forward() that makes new tensors."
                    )
            # All who come after read the node, so that a new value does as well, which no view needs to be kept from.
            if anew := operations.AUGMENTED.get(node.target):
                node.target, moved = anew, True
    traced.meta["functional"] = True
    if moved:
        traced.recompile()
    return traced


def _numbers_anew(traced: fx.GraphModule) -> bool:
    """Make n += 1 of a size a new number, which it is: none is changed. Whether there is one."""
    of_sizes = [
        node for node in traced.graph.nodes
        if node.target in operations.AUGMENTED
        and not (isinstance(base := node.args[0], fx.Node) and operations.kind(traced, base) not in ("size", "number"))
    ]  # fmt: skip
    for node in of_sizes:
        node.target = operations.AUGMENTED[node.target]
    return bool(of_sizes)


def _copies_what_it_changes(traced: fx.GraphModule) -> bool:
    """Copy each input that an operation changes in place: it is the user's own. Whether there is one."""
    changed = [node.args[0] for node in traced.graph.nodes if operations.in_place(traced, node) and node.args]
    shared = set().union(*(_sharing(traced, base) for base in changed if isinstance(base, fx.Node)))
    for given in [node for node in shared if node.op == "placeholder"]:
        with traced.graph.inserting_after(given):
            own = traced.graph.call_method("clone", (given,))
        own.meta = dict(given.meta)
        given.replace_all_uses_with(own, lambda user, own=own: user is not own)
    return any(node.op == "placeholder" for node in shared)


def _sharing(traced: fx.GraphModule, node: fx.Node) -> set[fx.Node]:
    """The values that may share memory with a node's: what it is a view of, and other views of that. Parts of one
    split do not share any."""

    def shares(node: fx.Node) -> bool:
        passes_on = operations.is_view(traced, node) or operations.in_place(traced, node)
        return passes_on and isinstance(node.args[0], fx.Node)

    above = [node]
    while shares(above[-1]):
        above.append(above[-1].args[0])
    found, ahead = set(above), list(above)
    while ahead:
        here = ahead.pop()
        for user in here.users:
            apart = here in above and operations.kind(traced, here) == "split"
            if user not in found and not apart and shares(user) and user.args[0] is here:
                found.add(user)
                ahead.append(user)
    return found
