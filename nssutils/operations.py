"""What each operation of a network does to its neurons, and to memory."""

import builtins
import inspect
import operator

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torchvision import ops

from nssutils.errors import NssError


class UnsupportedNetwork(NssError):
    """A network with a part that cannot be handled; the message names the part."""


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

# What each operation does to a tensor of neurons. Everything not named here is "other": its inputs are handed to it as
# they are in the whole network, and nothing is known of its output.
MODULES = {
    "weighted": (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    # Not InstanceNorm1d: of values (N, width) it takes a sample for a channel, and the neurons for its space.
    "norm": (*BATCH_NORMS, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "layernorm": (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm),
    "activation": (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh,
        nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink,
        nn.Hardshrink, nn.Threshold, nn.RReLU,
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
        nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
        ops.StochasticDepth,
    ),
    "reshape": (nn.Flatten, nn.Unflatten),
    "softmax": (nn.Softmax, nn.LogSoftmax),
    "shuffle": (nn.ChannelShuffle,),
    "move": (nn.PixelShuffle, nn.PixelUnshuffle, nn.Unfold, nn.Fold),
    "attention": (nn.MultiheadAttention,),
}  # fmt: skip

FUNCTIONS = {
    "norm": (F.batch_norm,),
    "layernorm": (F.layer_norm, F.group_norm, F.rms_norm),
    "activation": (
        F.relu, F.relu_, torch.relu, torch.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish,
        F.hardswish, F.hardtanh, F.hardsigmoid, F.sigmoid, torch.sigmoid, F.tanh, torch.tanh, F.softplus, F.softsign,
        F.logsigmoid, torch.exp, torch.sqrt, torch.rsqrt, torch.abs, torch.square, torch.neg, operator.neg, torch.sin,
        torch.cos, torch.log, torch.clamp, torch.erf, torch.erf_, F.leaky_relu_, F.elu_, F.selu_, F.celu_, F.hardtanh_,
        torch.sigmoid_, torch.tanh_, torch.clamp_, torch.clamp_min, torch.clamp_max, torch.reciprocal, torch.log1p,
        torch.expm1, torch.selu, torch.celu, F.threshold, F.softshrink, F.hardshrink, F.tanhshrink, torch.exp2,
        torch.log2, torch.log10, torch.atan, torch.sinh, torch.cosh, torch.asinh, torch.sign, torch.nan_to_num,
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
    "same": (
        F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
        ops.stochastic_depth,
    ),
    "reshape": (torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten),
    "permute": (torch.permute, torch.transpose, torch.swapaxes, torch.movedim, torch.t),
    "reduce": (torch.mean, torch.sum, torch.amax, torch.amin),
    "add": (torch.add, operator.add, operator.iadd, operator.sub, operator.isub, torch.sub),
    "multiply": (
        torch.mul, torch.multiply, operator.mul, operator.imul, operator.truediv, operator.itruediv, torch.div,
    ),
    "larger": (torch.maximum, torch.minimum),
    "cat": (torch.cat, torch.concat, torch.concatenate),
    "split": (torch.chunk, torch.split, torch.tensor_split, torch.unbind),
    "pick": (operator.getitem,),
    "pad": (F.pad,),
    "softmax": (F.softmax, F.log_softmax, torch.softmax, torch.log_softmax),
    "attention": (F.scaled_dot_product_attention,),
    "matmul": (torch.matmul, operator.matmul, torch.bmm),
    "shuffle": (F.channel_shuffle,),
    "move": (torch.roll, torch.flip, torch.stack, F.pixel_shuffle, F.pixel_unshuffle, F.unfold, F.fold),
    "size": (getattr, builtins.len),
    "number": (operator.floordiv, operator.mod, operator.pow, operator.ipow, builtins.int, builtins.max, builtins.min),
}  # fmt: skip

_METHODS = {
    "activation": (
        "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "exp", "sqrt", "rsqrt", "abs", "square", "neg",
        "clamp", "clamp_min", "clamp_max", "reciprocal", "log", "log1p", "expm1", "sin", "cos", "erf", "hardshrink",
        "exp2", "log2", "log10", "atan", "sinh", "cosh", "asinh", "sign", "nan_to_num", "clamp_", "exp_", "abs_",
        "neg_", "square_", "sqrt_",
    ),
    "same": ("contiguous", "clone", "detach", "float", "to", "type_as"),
    "reshape": ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten"),
    "permute": ("permute", "transpose", "swapaxes", "movedim", "t"),
    "reduce": ("mean", "sum", "amax", "amin"),
    "add": ("add", "add_", "sub", "sub_"),
    "multiply": ("mul", "mul_", "div", "div_"),
    "larger": ("maximum", "minimum"),
    "split": ("chunk", "split", "tensor_split", "unbind"),
    "softmax": ("softmax", "log_softmax"),
    "matmul": ("matmul", "bmm"),
    "move": ("roll", "flip", "expand", "expand_as", "repeat", "unfold"),
    "size": ("size", "dim", "numel"),
}  # fmt: skip

_POWERS = (operator.pow, operator.ipow, torch.pow, "pow")
_OF_TWO = (torch.max, torch.min, "max", "min")  # the larger of two values, and the largest of one


def kind(traced: fx.GraphModule, node: fx.Node) -> str:
    """What a node does: "input", "output", "constant" (a parameter or buffer of its own), "weighted" (Linear,
    convolution), "norm" (of each neuron by itself), "layernorm" (any that looks across neurons), "activation"
    (element-wise), "prelu", "maxpool", "pool" (an average or an interpolation), "same" (values pass unchanged in eval
    mode), "reshape", "permute", "reduce", "add" (subtracts, too), "multiply" (divides, too), "larger" (of two, or the
    smaller), "cat", "split", "pick", "pad", "shuffle", "move" (elements go elsewhere), "softmax", "attention",
    "matmul", "size" (of a tensor, no values), "number" (arithmetic of sizes), or "other"."""
    if node.op in ("placeholder", "output", "get_attr"):
        return {"placeholder": "input", "output": "output", "get_attr": "constant"}[node.op]
    if node.op == "call_module":
        module = traced.get_submodule(node.target)
        if getattr(module, "return_indices", False):
            return "other"
        return next((name for name, types in MODULES.items() if behaves_as(module, types)), "other")
    table = {"call_function": FUNCTIONS, "call_method": _METHODS}.get(node.op, {})
    found = next((name for name, targets in table.items() if node.target in targets), "other")
    if found == "size" and node.target is getattr and node.args[1] not in ("shape", "ndim", "dtype", "device"):
        return "other"
    if node.target in _POWERS:
        of_value = node.all_input_nodes == [node.args[0]] and kind(traced, node.args[0]) not in ("size", "number")
        found = "activation" if of_value else "number"
    if node.target in _OF_TWO and len(node.args) == 2 and isinstance(node.args[1], fx.Node):
        found = "larger"
    if found in ("pick", "add", "multiply", "number", "size") and node.all_input_nodes:
        sizes = ("size", "number")
        if found != "size" and all(kind(traced, source) in sizes for source in node.all_input_nodes):
            return "number"
    return "other" if found == "number" else found


def known(op: str, target) -> bool:
    """Whether a function or method is one that has a kind."""
    table = {"call_function": FUNCTIONS, "call_method": _METHODS}[op]
    return target in (*_POWERS, *_OF_TWO) or any(target in targets for targets in table.values())


# What draws at random in training alone, as a function, and the module that does the same.
DROPOUTS = {
    F.dropout: nn.Dropout, F.dropout1d: nn.Dropout1d, F.dropout2d: nn.Dropout2d, F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout, F.feature_alpha_dropout: nn.FeatureAlphaDropout, torch.dropout: nn.Dropout,
    torch.alpha_dropout: nn.AlphaDropout, F.rrelu: nn.RReLU,
}  # fmt: skip
# The arguments by which each of these modules is made.
DRAWN_BY = {module: ("lower", "upper") if module is nn.RReLU else ("p",) for module in DROPOUTS.values()}


def dropout(node: fx.Node) -> nn.Module | None:
    """The module that does what a function of DROPOUTS does, in training mode if that is on; None for another node."""
    if node.target not in DROPOUTS:
        return None
    try:
        signature = inspect.signature(node.target)
    except ValueError:  # of torch's code in C
        signature = inspect.signature(lambda input, p, train: None)
    bound = signature.bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    given, module = bound.arguments, DROPOUTS[node.target]
    on = given["train" if "train" in given else "training"]
    arguments = [given[name] for name in DRAWN_BY[module]]
    if any(isinstance(each, fx.Node) for each in (on, *arguments)):
        return None  # how much is known only when it runs
    return module(*arguments).train(bool(on) and given.get("p") != 0)


def alike(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node's output is laid out like its first input."""
    alike = kind(traced, node) in ("norm", "layernorm", "activation", "prelu", "same", "softmax")
    return alike and node.op != "call_method"


def behaves_as(module: nn.Module, types: tuple[type, ...]) -> bool:
    """Whether a module computes as one of torch's types: one of it, or of a subclass with the same forward(), with
    nothing hooked on but a weight norm."""
    of = next((kind_ for kind_ in types if isinstance(module, kind_)), None)
    return of is not None and type(module).forward is of.forward and not (hooked(module) or "forward" in vars(module))


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


def hooked(module: nn.Module) -> bool:
    """Whether a user's hook may change what the module gives."""
    before = [type(hook).__module__ for hook in module._forward_pre_hooks.values()]
    return bool(module._forward_hooks) or any(name != "torch.nn.utils.weight_norm" for name in before)


# What an augmented assignment does to its value, and the operation that makes a new one. Not @=: tensors have none.
AUGMENTED = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
    operator.itruediv: operator.truediv, operator.ifloordiv: operator.floordiv, operator.imod: operator.mod,
    operator.ipow: operator.pow, operator.iand: operator.and_, operator.ior: operator.or_,
    operator.ixor: operator.xor, operator.ilshift: operator.lshift, operator.irshift: operator.rshift,
}  # fmt: skip


def in_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node overwrites its first input, or stands for a value after that has been done."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(node.target), "inplace", False))
    if node.op == "call_method":
        return node.target.endswith("_") and not node.target.endswith("__")
    if node.op == "call_function":
        if node.kwargs.get("inplace") or (True in node.args[1:] and kind(traced, node) == "activation"):
            return True
        if node.target in (*AUGMENTED, operator.imatmul, written):
            return True
        return (
            getattr(node.target, "__name__", "").endswith("_") and getattr(node.target, "__module__", "") != "_operator"
        )
    return False


# What may give its input's own memory on, besides methods and functions that say so (`is_view`).
_SHARING = ("same", "reshape", "permute", "split", "pick", "move")


def is_view(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether what a node gives may share its first input's memory."""
    if kind(traced, node) in _SHARING or (node.target is getattr and kind(traced, node) == "other"):
        return True
    if node.op not in ("call_function", "call_method"):
        return False
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    overloads = getattr(torch.ops.aten, name, None)
    schemas = [getattr(overloads, each)._schema for each in overloads.overloads()] if overloads else []
    return any(each.alias_info and not each.alias_info.is_write for schema in schemas for each in schema.returns)


def written(tensor: Tensor, at, value) -> Tensor:
    """A tensor in which `tensor[at] = value` has been done."""
    tensor = tensor.clone()
    tensor[at] = value
    return tensor


def attribute(root: nn.Module, path: str):
    """What `root.a.b` is for path "a.b"."""
    for part in path.split("."):
        root = getattr(root, part)
    return root


def read_besides(traced: fx.GraphModule) -> set[str]:
    """The modules whose tensors forward() reads itself, but to ask for their type."""

    def counts(user: fx.Node) -> bool:
        return user.target is not getattr or user.args[1] not in ("dtype", "device")

    read = [node for node in traced.graph.nodes if node.op == "get_attr" and any(map(counts, node.users))]
    return {node.target.rpartition(".")[0] for node in read}


def device(net: nn.Module) -> torch.device:
    """Where the network computes."""
    return next((tensor.device for tensor in (*net.parameters(), *net.buffers())), torch.device("cpu"))
