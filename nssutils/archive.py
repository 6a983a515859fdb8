"""An extracted network in a file: its structure and weights, without pickle, so that reading one runs no code.

The file is safetensors with a digest over all that it says; its metadata says which modules are smaller, and, where the
network has a graph of its own, that graph. What the modules do otherwise is the network's own code: reading takes a
whole network made by it.
"""

import builtins
import json
import operator
import re
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import fx, nn
from torch.nn.utils import prune

from nssutils import graphs, operations, sealed
from nssutils.errors import NssError


class ArchiveError(NssError):
    """A network that cannot be written, or a file that is none."""


# How each module that extraction makes is made: its type, and the arguments that it keeps under their own names.
_CONVOLUTION = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode",
)  # fmt: skip
_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_MADE = {
    nn.Linear: ("in_features", "out_features"), nn.Conv1d: _CONVOLUTION, nn.Conv2d: _CONVOLUTION,
    nn.Conv3d: _CONVOLUTION, nn.InstanceNorm2d: _NORM, nn.InstanceNorm3d: _NORM,
    **dict.fromkeys(operations.BATCH_NORMS, _NORM),
    nn.PReLU: ("num_parameters",), nn.Identity: (), **operations.DRAWN_BY,
}  # fmt: skip
_BIASED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_WRITTEN = (
    torch.narrow, torch.index_select, torch.index_add, torch._assert, operator.eq, torch.full,
    torch.arange, torch.zeros, torch.ones, torch.empty, F.linear, F.conv1d, F.conv2d, F.embedding, F.normalize,
    torch.einsum, torch.cumsum, torch.pow, torch.baddbmm, torch.where, torch.zeros_like, operations.written,
    operator.lt, operator.le, operator.gt, operator.ge, operator.ne, operator.and_, operator.or_, operator.invert,
    torch.max, torch.min, torch.std, torch.var, torch.norm, torch.linalg.vector_norm, torch.topk, torch.gather,
    torch.masked_fill, torch.hstack, torch.ones_like, torch.full_like, torch.tril, torch.triu, torch.addcmul,
    torch.lerp, torch.repeat_interleave,
)  # fmt: skip


# torch.fx writes what a graph names into code that it runs: only what can be nothing but a name may come from a file.
_NAMED = {op: re.compile(r"\w+(\.\w+)*", re.ASCII) for op in ("call_module", "get_attr", "call_function")}
_NAMED |= {"placeholder": re.compile(r"\*{0,2}[A-Za-z_]\w*", re.ASCII), "output": re.compile("output")}
_NAMED["call_method"] = re.compile(r"[A-Za-z]\w*", re.ASCII)
_DTYPES = {name: each for name, each in vars(torch).items() if isinstance(each, torch.dtype)}


def _functions() -> dict[str, object]:
    """The functions that a graph in a file may call, by name: those with a kind, and some that are just computed."""
    known = {function for functions in operations.FUNCTIONS.values() for function in functions} | set(_WRITTEN)
    found = {}
    for space in (torch, F, torch.linalg, operator, builtins, torchvision.ops, operations):
        for name in dir(space):
            function = getattr(space, name, None)
            if callable(function) and function in known:
                found[f"{space.__name__}.{name}"] = function
    return found


def save(small: nn.Module, path: str | Path) -> None:
    """Write an extracted network to a safetensors file, atomically. Raises ArchiveError for an operation of its graph
    that a file cannot name."""
    modules = {
        name: [type(module).__name__, _made_by(module)]
        for name, module in small.named_modules()
        if type(module) in _MADE
    }
    parameters, first = dict(small.named_parameters(remove_duplicate=False)), {}
    for name, parameter in parameters.items():
        first.setdefault(parameter, name)
    described = {
        "modules": modules,
        "parameters": list(parameters),
        "frozen": [name for name, parameter in parameters.items() if not parameter.requires_grad],
        "tied": {name: first[parameter] for name, parameter in parameters.items() if first[parameter] != name},
        "pruned": [
            f"{name}.{hook._tensor_name}".removeprefix(".")
            for name, module in small.named_modules()
            for hook in module._forward_pre_hooks.values()
            if isinstance(hook, prune.BasePruningMethod)
        ],
        "kinds": _kinds(small),
        "graph": _written(small.graph) if isinstance(small, fx.GraphModule) else None,
    }
    held = small.state_dict()
    if other := [name for name, value in held.items() if not isinstance(value, torch.Tensor)]:
        raise ArchiveError(f"{other[0]!r} is a {type(held[other[0]]).__name__}, no tensor: a file has tensors alone.")
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in held.items()}
    sealed.save(path, tensors, {"extracted": json.dumps(described)})


def _kinds(small: nn.Module) -> dict[str, str]:
    """What each module says that it is, as a slope or a share that no tensor tells."""
    return {name: f"{type(module).__name__}({module.extra_repr()})" for name, module in small.named_modules() if name}


def _made_by(module: nn.Module) -> dict:
    """The arguments that a module of one of the types that extraction makes is made by."""
    biased = {"bias": module.bias is not None} if isinstance(module, _BIASED) else {}
    return {argument: getattr(module, argument) for argument in _MADE[type(module)]} | biased


def _alike(module: nn.Module, kind: type, arguments: dict) -> bool:
    """Whether a module is already what would be made: it stays, with all else that it has."""
    return type(module) is kind and json.loads(json.dumps(_made_by(module))) == arguments


def load(path: str | Path, net: nn.Module) -> nn.Module:
    """Read what `save` wrote. `net` is a whole network of the kind that was extracted from, with any weights: it is
    left as it is. The result is where `net` is, in eval mode. Raises ArchiveError for a file that is missing, damaged,
    something else, or another network's. A file of before there were digests is read if its numbers are finite."""
    try:
        tensors, told = sealed.read(path, unsealed={"extracted"})
        described = json.loads(told["extracted"])
    except (sealed.SealError, LookupError, ValueError, RecursionError) as error:
        why = f"it {error}" if isinstance(error, sealed.SealError) else f"{type(error).__name__}: {error}"
        raise ArchiveError(
            f"{path} has no extracted network ({why}); expected a file that `save` wrote: extract the network again."
        ) from error
    where = operations.device(net)
    small = graphs.copied(graphs.unwrapped(net))
    kinds = {kind.__name__: kind for kind in _MADE}
    try:
        whole = dict(small.named_modules(remove_duplicate=False))
        with torch.random.fork_rng(devices=[]):  # nothing is drawn that stays
            made = {
                name: kinds[kind](**how)
                for name, (kind, how) in described["modules"].items()
                if name not in whole or not _alike(whole[name], kinds[kind], how)
            }
        graphs.put(small, made)
        _place(small, tensors, described)
        if described["graph"] is not None:
            small = fx.GraphModule(small, _read(described["graph"]), type(small).__name__)
        small.load_state_dict(tensors)
        found, wanted = _kinds(small), described.get("kinds", {})  # none in files of before these were written
        if other := [name for name, kind in wanted.items() if found.get(name) != kind]:
            raise ValueError(f"{other[0]!r} is {found.get(other[0], 'not there')}, in the file {wanted[other[0]]}")
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, SyntaxError, TypeError, ValueError,
    ) as error:  # fmt: skip
        words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArchiveError(
            f"{path} was not extracted from a network like this {type(net).__name__}: {words}; expected one that "
            "the same code made, with any weights."
        ) from error
    return small.to(where).eval()


def _place(root: nn.Module, tensors: dict[str, torch.Tensor], described: dict) -> None:
    """Give each module its parameters and buffers in this shape and precision, where it has others or none."""
    # Files of before these were written have none of them.
    frozen, tied, pruned = (described.get(each, ()) for each in ("frozen", "tied", "pruned"))
    of = {f"{name}_orig": name for name in pruned}  # which module's tensor a parameter is until it is pruned

    def owner(name: str) -> tuple[nn.Module, str]:
        path, _, own = name.rpartition(".")
        return root.get_submodule(path), own

    for name, tensor in tensors.items():
        if name in tied or (name.endswith("_mask") and name.removesuffix("_mask") in pruned):
            continue
        module, own = owner(of.get(name, name))
        if name in described["parameters"]:
            learns = tensor.is_floating_point() and name not in frozen
            module.register_parameter(own, nn.Parameter(tensor.clone(), learns))
        else:
            module.register_buffer(own, tensor.clone())
    for name in tied:
        module, own = owner(of.get(name, name))
        module.register_parameter(own, operations.attribute(root, of.get(tied[name], tied[name])))
    for name in pruned:
        prune.custom_from_mask(*owner(name), tensors[f"{name}_mask"])


def _written(graph: fx.Graph) -> list:
    names = {id(function): name for name, function in _functions().items()}

    def plain(value):
        if isinstance(value, fx.Node):
            return {"node": value.name}
        if isinstance(value, list):
            return [plain(each) for each in value]
        if isinstance(value, tuple):
            return {"tuple": [plain(each) for each in value]}
        if isinstance(value, dict):
            return {"dict": [[plain(key), plain(each)] for key, each in value.items()]}
        if isinstance(value, slice):
            return {"slice": [plain(each) for each in (value.start, value.stop, value.step)]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise ArchiveError(f"a {type(value).__name__} in the network's graph cannot be written to a file.")

    found = []
    for node in graph.nodes:
        target = names.get(id(node.target)) if node.op == "call_function" else node.target
        if target is None:
            raise ArchiveError(
                f"{node.name!r} calls {getattr(node.target, '__name__', node.target)}, which a file cannot name."
            )
        if not _NAMED[node.op].fullmatch(target):
            raise ArchiveError(
                f"the network's graph names {target!r}, which a file cannot: expected letters and digits."
            )
        found.append([node.op, node.name, target, plain(node.args), plain(dict(node.kwargs))])
    return found


def _read(written: list) -> fx.Graph:
    functions, nodes, graph = _functions(), {}, fx.Graph()

    def pairs(of) -> list:
        return list(of.items()) if isinstance(of, dict) else of  # as in files of before keys could be numbers

    def value(plain):
        if isinstance(plain, list):
            return [value(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        ((what, of),) = plain.items()
        return {
            "node": lambda: nodes[of],
            "tuple": lambda: tuple(value(each) for each in of),
            "dict": lambda: {value(key): value(each) for key, each in pairs(of)},
            "slice": lambda: slice(*map(value, of)),
            "ellipsis": lambda: Ellipsis,
            "dtype": lambda: _DTYPES[of],
            "device": lambda: torch.device(of),
        }[what]()

    for op, name, target, args, kwargs in written:
        called_by = [key for key, _ in pairs(kwargs.get("dict", []))]
        if not _NAMED[op].fullmatch(target) or not all(map(str.isidentifier, (name, *called_by))):
            raise ValueError(f"its graph has {target!r:.40} for {name!r:.40}, expected names")
        if op == "call_function":
            target = functions[target]
        if op == "output":
            graph.output(value(args)[0])
        else:
            nodes[name] = graph.create_node(op, target, value(args), value(kwargs), name)
    graph.lint()
    return graph
