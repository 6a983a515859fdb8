"""How a network computes, as a graph of operations (torch.fx) over its own modules; and what each operation does.

A network is read off in two ways. First symbolically, which holds for inputs of every size. Where forward() asks for
sizes on its way (`if x.shape[1] == ...`), once more beside an example, whose shapes answer such questions; the batch
stays free. What depends on the values themselves cannot be read off, and is refused.
"""

import builtins
import copy
import inspect
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision import ops

from nssutils.errors import NssError


class UnsupportedNetwork(NssError):
    """A network with a part that cannot be handled; the message names the part."""


# What each operation does to a tensor of neurons. Everything not named here is "other": its inputs are handed to it as
# they are in the whole network, and nothing is known of its output.
_MODULES = {
    "weighted": (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    "layernorm": (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm),
    "activation": (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh,
        nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink,
        nn.Hardshrink, nn.Threshold,
    ),
    "prelu": (nn.PReLU,),
    "maxpool": (
        nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    ),
    "pool": (
        nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
        nn.AdaptiveAvgPool3d, nn.Upsample,
    ),
    "same": (
        nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, ops.StochasticDepth,
    ),
    "reshape": (nn.Flatten, nn.Unflatten),
    "softmax": (nn.Softmax, nn.LogSoftmax),
    "shuffle": (nn.ChannelShuffle,),
    "move": (nn.PixelShuffle, nn.PixelUnshuffle, nn.Unfold, nn.Fold, nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad2d,
             nn.ReplicationPad2d, nn.ConstantPad2d),
    "attention": (nn.MultiheadAttention,),
}  # fmt: skip
FUNCTIONS = {
    "norm": (F.batch_norm,),
    "layernorm": (F.layer_norm, F.group_norm, F.rms_norm),
    "activation": (
        F.relu, F.relu_, torch.relu, torch.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish,
        F.hardswish, F.hardtanh, F.hardsigmoid, F.sigmoid, torch.sigmoid, F.tanh, torch.tanh, F.softplus, F.softsign,
        F.logsigmoid, torch.exp, torch.sqrt, torch.rsqrt, torch.abs, torch.square, torch.neg, operator.neg, torch.sin,
        torch.cos, torch.log, torch.clamp, torch.erf, torch.erf_,
    ),
    "maxpool": (
        F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, F.adaptive_max_pool1d,
        F.adaptive_max_pool2d, F.adaptive_max_pool3d,
    ),
    "pool": (
        F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
        F.adaptive_avg_pool3d, F.interpolate,
        F.upsample,
    ),
    "same": (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, ops.stochastic_depth),
    "reshape": (torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten),
    "permute": (torch.permute, torch.transpose, torch.swapaxes, torch.movedim, torch.t),
    "reduce": (torch.mean, torch.sum, torch.amax, torch.amin),
    "add": (torch.add, operator.add, operator.iadd, operator.sub, operator.isub, torch.sub),
    "multiply": (
        torch.mul, torch.multiply, operator.mul, operator.imul, operator.truediv, operator.itruediv, torch.div,
    ),
    "cat": (torch.cat, torch.concat),
    "split": (torch.chunk, torch.split, torch.tensor_split, torch.unbind),
    "pick": (operator.getitem,),
    "pad": (F.pad,),
    "softmax": (F.softmax, F.log_softmax, torch.softmax, torch.log_softmax),
    "attention": (F.scaled_dot_product_attention,),
    "matmul": (torch.matmul, operator.matmul, torch.bmm),
    "shuffle": (F.channel_shuffle,),
    "move": (torch.roll, torch.flip, torch.stack, F.pixel_shuffle, F.pixel_unshuffle, F.unfold, F.fold),
    "size": (getattr, builtins.len),
    "number": (operator.floordiv, operator.mod, operator.pow, builtins.int, builtins.max, builtins.min),
}  # fmt: skip
_METHODS = {
    "activation": (
        "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "exp", "sqrt", "rsqrt", "abs", "square", "neg",
        "clamp",
    ),
    "same": ("contiguous", "clone", "detach", "float", "to", "type_as"),
    "reshape": ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten"),
    "permute": ("permute", "transpose", "swapaxes", "movedim", "t"),
    "reduce": ("mean", "sum", "amax", "amin"),
    "add": ("add", "add_", "sub", "sub_"),
    "multiply": ("mul", "mul_", "div", "div_"),
    "split": ("chunk", "split", "tensor_split", "unbind"),
    "softmax": ("softmax", "log_softmax"),
    "matmul": ("matmul", "bmm"),
    "move": ("roll", "flip", "expand", "expand_as", "repeat", "unfold"),
    "size": ("size", "dim", "numel"),
}  # fmt: skip


def kind(traced: fx.GraphModule, node: fx.Node) -> str:
    """What a node does: "input", "output", "constant" (a parameter or buffer of its own), "weighted" (Linear,
    convolution), "norm" (batch normalisation), "layernorm" (any that looks across neurons), "activation"
    (element-wise), "prelu", "maxpool", "pool" (an average or an interpolation), "same" (values pass unchanged in eval
    mode), "reshape", "permute", "reduce", "add" (subtracts, too), "multiply" (divides, too), "cat", "split", "pick",
    "pad", "shuffle", "move" (elements go elsewhere), "softmax", "attention", "matmul", "size" (of a tensor, no values),
    "number" (arithmetic of sizes), or "other"."""
    if node.op in ("placeholder", "output", "get_attr"):
        return {"placeholder": "input", "output": "output", "get_attr": "constant"}[node.op]
    if node.op == "call_module":
        module = traced.get_submodule(node.target)
        if getattr(module, "return_indices", False):
            return "other"
        return next((name for name, types in _MODULES.items() if _behaves_as(module, types)), "other")
    table = {"call_function": FUNCTIONS, "call_method": _METHODS}.get(node.op, {})
    found = next((name for name, targets in table.items() if node.target in targets), "other")
    if found == "size" and node.target is getattr and node.args[1] not in ("shape", "ndim", "dtype", "device"):
        return "other"
    if found in ("pick", "add", "multiply", "number", "size") and node.all_input_nodes:
        sizes = ("size", "number")
        if found != "size" and all(kind(traced, source) in sizes for source in node.all_input_nodes):
            return "number"
    return "other" if found == "number" else found


# Dropout as a function, and the module that does the same.
DROPOUTS = {
    F.dropout: nn.Dropout, F.dropout1d: nn.Dropout1d, F.dropout2d: nn.Dropout2d, F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout,
}  # fmt: skip


def training_of(dropout: fx.Node) -> bool:
    """Whether a functional dropout is on."""
    return bool(dropout.kwargs.get("training", dropout.args[2] if len(dropout.args) > 2 else True))


def _alike(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node's output is laid out like its first input."""
    alike = kind(traced, node) in ("norm", "layernorm", "activation", "prelu", "same", "softmax")
    return alike and node.op != "call_method"


def _behaves_as(module: nn.Module, types: tuple[type, ...]) -> bool:
    """Whether a module computes as one of torch's types: one of it, or of a subclass with the same forward(), with
    nothing hooked on but a weight norm."""
    of = next((kind_ for kind_ in types if isinstance(module, kind_)), None)
    return of is not None and type(module).forward is of.forward and not hooked(module)


def called(traced: fx.GraphModule, node: fx.Node) -> str:
    """What a node calls, in a user's words."""
    if node.op == "call_module":
        return f"{node.target}: {type(traced.get_submodule(node.target)).__name__}"
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def weighs(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node has weights, of whatever kind: a module's, or its own, matrices or larger."""
    if node.op == "call_module":
        return any(p.dim() > 1 for p in traced.get_submodule(node.target).parameters())
    if node.op != "call_function" or kind(traced, node) not in ("other", "matmul", "attention"):
        return False
    own = [attribute(traced, source.target) for source in node.all_input_nodes if source.op == "get_attr"]
    return any(isinstance(value, nn.Parameter) and value.dim() > 1 for value in own)


def general(traced: fx.GraphModule) -> bool:
    """Whether a traced network stands for inputs of every shape, not just for its example's."""
    return not any("beside" in node.meta for node in traced.graph.nodes)


def hooked(module: nn.Module) -> bool:
    """Whether a user's hook may change what the module gives."""
    before = [type(hook).__module__ for hook in module._forward_pre_hooks.values()]
    return bool(module._forward_hooks) or any(name != "torch.nn.utils.weight_norm" for name in before)


# -------------------------------------------------------------------------------------------------------- tracing


def trace(net: nn.Module, x: Tensor | None = None) -> fx.GraphModule:
    """The network's dataflow graph; its modules are the network's own, not copies.

    `x` is an example (a batch of any size); where none is given and one is needed, it is guessed (`example`). What is
    traced already comes back as it is, so that a caller with many masks to try traces once. Raises UnsupportedNetwork
    for control flow that depends on values.
    """
    if isinstance(net, fx.GraphModule):
        return net
    net = unwrapped(net)
    try:
        with _untouched(net):
            return _functional(fx.GraphModule(net, _Symbolic().trace(net)))
    except Exception as error:  # whatever forward() trips over when handed a symbolic tensor
        reason = error
    try:
        inputs = example(net) if x is None else x
    except UnsupportedNetwork as error:
        raise UnsupportedNetwork(
            f"the dataflow of {type(net).__name__} cannot be traced without an example ({_words(reason)}), and none "
            f"could be guessed: {error}"
        ) from reason
    try:
        with _untouched(net):
            return _functional(fx.GraphModule(net, _Concrete(inputs).trace(net)))
    except Exception as error:
        raise UnsupportedNetwork(
            f"the dataflow of {type(net).__name__} cannot be traced ({_words(error)}). Expected a forward() of one "
            "tensor, whose path does not depend on the values in it; a network of several inputs can be called by a "
            "module around it that takes them in one."
        ) from error


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


def example(net: nn.Module) -> Tensor:
    """A batch of two such as the network takes, on the meta device: guessed from its first weighted module, and
    for images by trying usual sizes. Raises UnsupportedNetwork where none passes."""
    first = next((module for module in net.modules() if _behaves_as(module, _MODULES["weighted"])), None)
    if first is None:
        raise UnsupportedNetwork(f"{type(net).__name__} has no Linear or convolution.")
    if isinstance(first, nn.Linear):
        shapes = [(first.in_features,)]
    else:
        dims, channels = len(first.kernel_size), first.in_channels
        sizes = (32, 28, 64, 96, 128, 224, 16, 8, *range(1, 64), *range(80, 513, 16), 299)
        shapes = [(channels, *[size] * dims) for size in sizes]
    tried = []
    for shape in shapes:
        x = torch.zeros(2, *shape, dtype=next(net.parameters()).dtype, device="meta")
        try:
            _shape_only(net, x)
        except Exception as error:
            tried.append(f"{tuple(x.shape)}: {_words(error)}")
        else:
            return x
    raise UnsupportedNetwork(
        f"{type(net).__name__} took no batch of a usual size ({'; '.join(tried[:2])}). Give an example: x=..."
    )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def _shape_only(net: nn.Module, x: Tensor):
    """What the network makes of x, as shapes without values: its parameters and buffers are read and not changed."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _untouched(net):
        run_ = _Seen(net, {}).run if isinstance(net, fx.GraphModule) else net
        return run_(torch.empty(x.shape, dtype=x.dtype, device=device(net)))


def like(traced: fx.GraphModule) -> tuple[int, ...]:
    """The shape of one sample of the inputs for which a traced network has its `shapes`."""
    return tuple(next(iter(traced.graph.nodes)).meta["shape"][1:])


def device(net: nn.Module) -> torch.device:
    """Where the network computes."""
    return next((tensor.device for tensor in (*net.parameters(), *net.buffers())), torch.device("cpu"))


class _Symbolic(fx.Tracer):
    """fx's tracer whose leaves are torch.nn's layers and subclasses that compute as they do."""

    proxy_buffer_attributes = True

    def create_args_for_root(self, forward, is_module: bool, concrete_args=None):
        """forward() on one symbol, whatever else it takes at its default."""
        _, first, *others = inspect.signature(forward).parameters.values()
        named = [p for p in others if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        needed = [p.name for p in named if p.default is p.empty]
        if needed:
            raise UnsupportedNetwork(f"forward() wants {', '.join(needed)} besides {first.name}")
        return forward, [self.root, self.create_proxy("placeholder", first.name, (), {})]

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
        raise UnsupportedNetwork("forward() asks for the type of a value")  # an example can tell

    def has(self, proxy: fx.Proxy, name: str) -> bool:
        """Whether what a symbol stands for has an attribute that tensors lack."""
        return hasattr(self.type_of(proxy), name)


class _Symbol(fx.Proxy):
    """A symbolic value that isinstance() takes for what it stands for, so that forward() goes the way that it does."""

    _is_param = False  # nn.Parameter asks

    @property
    def __class__(self) -> type:
        return self.tracer.type_of(self)

    def __getattr__(self, name: str):
        if not hasattr(Tensor, name) and not self.tracer.has(self, name):
            raise AttributeError(f"{self.node.name} has no attribute {name!r}")
        return super().__getattr__(name)


_WITHIN = (
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.Transformer,
    nn.TransformerDecoder, nn.TransformerDecoderLayer,
)  # fmt: skip


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one operation: torch's layers, what inherits their forward(), stochastic depth."""
    if isinstance(module, _WITHIN):
        return False
    forward = next((base for base in type(module).__mro__ if "forward" in vars(base)), type(module)).__module__
    return forward.startswith(("torch.nn.", "torch.ao.")) or isinstance(module, ops.StochasticDepth)


# A batch that no other size of a network is likely to be a multiple of: it tells the batch's sizes from all others.
_BATCH = 13


class _Concrete(_Symbolic):
    """Traces beside an example's shapes: sizes are numbers, those of the batch symbols with a number at hand."""

    def __init__(self, x: Tensor):
        super().__init__()
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.like, self.computing = x, False

    def trace(self, net: nn.Module, *args) -> fx.Graph:
        with self.mode:
            self.x = torch.empty(_BATCH, *self.like.shape[1:], dtype=self.like.dtype, device=device(net))
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
        return node.meta["beside"] if "beside" in node.meta else self._value(node)

    def _value(self, node: fx.Node):
        """What the node gives on the example, as a shape without values."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._of)
        self.computing = True
        try:
            with self.mode, torch.no_grad():
                if node.op == "placeholder":
                    value = self.x
                elif _alike(self.root, node):
                    value = args[0] if args else kwargs["input"]
                elif node.op == "get_attr":
                    value = attribute(self.root, node.target)
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
        node.meta["beside"] = value
        return value

    def to_bool(self, proxy):
        if isinstance(proxy.value, Tensor):
            return super().to_bool(proxy)  # raises: a path that depends on values
        return bool(proxy.value)

    def iter(self, proxy):
        if isinstance(proxy.value, Tensor):
            if len(proxy.value) % _BATCH == 0:
                raise UnsupportedNetwork("forward() takes a batch apart, sample by sample")
            return iter(proxy[i] for i in range(len(proxy.value)))
        return iter([proxy[i] for i in range(len(proxy.value))])


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
            return n if n % _BATCH else self.tracer.create_proxy("call_method", "size", (self, i), {})

        return one(dim) if dim is not None else _Sizes(one(i) for i in range(self.value.dim()))

    def dim(self) -> int:
        return self.value.dim()

    def is_floating_point(self) -> bool:
        return self.value.is_floating_point()

    def __len__(self) -> int:
        if isinstance(self.value, Tensor) and len(self.value) % _BATCH == 0:
            raise UnsupportedNetwork("forward() asks for the length of a batch to go on by")
        return len(self.value)

    def __int__(self) -> int:
        return self.__index__()

    def __index__(self) -> int:
        if isinstance(self.value, Tensor) or self.value % _BATCH == 0:
            raise UnsupportedNetwork("forward() goes on by a number that depends on the batch")
        return int(self.value)


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


def _functional(traced: fx.GraphModule) -> fx.GraphModule:
    """The graph with values that an operation changes in place read from that operation by all who come after."""
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    for node in list(traced.graph.nodes):
        if in_place(traced, node) and isinstance(base := node.args[0], fx.Node):
            later = [user for user in base.users if order[user] > order[node]]
            for user in later:
                user.replace_input_with(base, node)
    for node in traced.graph.nodes:
        if node.op == "call_function" and node.target in (operator.setitem, operator.delitem):
            raise UnsupportedNetwork(f"{node.name!r} writes into a tensor; expected a forward() that makes new ones.")
    traced.recompile()
    return traced


def in_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node overwrites its first input."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(node.target), "inplace", False))
    if node.op == "call_method":
        return node.target.endswith("_") and not node.target.endswith("__")
    if node.op == "call_function":
        if node.kwargs.get("inplace") or (True in node.args[1:] and kind(traced, node) == "activation"):
            return True
        return node.target in (operator.iadd, operator.imul, operator.isub, operator.itruediv, torch.relu_, F.relu_)
    return False


# ---------------------------------------------------------------------------------------------------------- shapes


def shapes(traced: fx.GraphModule, x: Tensor | None = None) -> fx.GraphModule:
    """The traced network with `meta["shape"]` on each node: a tensor's torch.Size for a batch of 13, a tuple of such
    for several, a number for a size, None for the rest. Done once; `x` is an example, guessed where none is given."""
    nodes = list(traced.graph.nodes)
    if "shape" in nodes[0].meta:
        return traced
    if all("beside" in node.meta for node in nodes if node.op != "output"):
        values = {node: node.meta.get("beside") for node in nodes}
    else:
        x = example(traced) if x is None else x
        values: dict = {}
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            _Seen(traced, values).run(torch.empty(_BATCH, *x.shape[1:], dtype=x.dtype, device=device(traced)))
    for node in nodes:
        node.meta["shape"] = _shape(values.get(node))
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
        weighted = kind(self.module, node) == "weighted"
        if weighted or _alike(self.module, node):
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


# ---------------------------------------------------------------------------------------------------------- running


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


def attribute(root: nn.Module, path: str):
    """What `root.a.b` is for path "a.b"."""
    for part in path.split("."):
        root = getattr(root, part)
    return root
