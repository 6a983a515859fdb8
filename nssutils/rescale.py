"""DeepLIFT's rules (Shrikumar et al. 2017): a backward pass that carries, in place of derivatives, multipliers: the
change of an operation's output over the change of its inputs, both from a baseline.

An element-wise operation has the rescale rule. A product of two values that both change gives each the other's mean
with its baseline, (b + b0) / 2 and (a + a0) / 2: their shares add up to ab - a0 b0. Softmax and layer normalisation are
made of these (exp, sum, reciprocal; mean, square, root), so they add up as well; so is attention.
"""

import functools
import math
import operator
import types
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils import graphs, operations
from nssutils.errors import NssError

# Below this change of an operation's input, its multiplier is the derivative (captum's value).
_EPS = 1e-10

_LINEAR = (
    "input", "output", "constant", "weighted", "norm", "pool", "same", "reshape", "permute", "add", "cat", "split",
    "pick", "pad", "shuffle", "move", "size", "number",
)  # fmt: skip
_LINEAR_IN_FIRST = (
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.grid_sample,
    torch.index_select, torch.cumsum, torch.repeat_interleave, torch.narrow, torch.gather, torch.select, torch.tril,
    torch.triu, torch.diagonal, "index_select", "cumsum", "repeat_interleave", "narrow", "gather", "select", "tril",
    "triu", "diagonal", "double", "half", "bfloat16", torch.masked_fill, "masked_fill",
)  # fmt: skip
_WITH_PLACES = {torch.max, torch.min, "max", "min"}  # over an axis they give where it is, too
# The arguments of what squares, adds up and, but for the variance, takes the root.
_SPREADS = {
    **dict.fromkeys((torch.norm, "norm"), ("p", "dim", "keepdim")),
    torch.linalg.vector_norm: ("ord", "dim", "keepdim"),
    **dict.fromkeys((torch.var, "var", torch.std, "std"), ("dim", "unbiased", "keepdim")),
}
_LINEAR_MODULES = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Those with a rule for their first argument alone: whatever else they are called with must not change.
_OF_FIRST = ("norm", "layernorm", "activation", "prelu", "maxpool", "softmax")
_SHAPED = (torch.zeros_like, torch.ones_like, torch.full_like, "new_zeros", "new_ones", "new_full")  # of no values
_OTHER_METRICS = "the metrics avg, var, ens and taylor need no rule"


class ContributionError(NssError):
    """A metric, label or network that contributions cannot be computed for."""


def apart(traced: fx.GraphModule) -> bool:
    """Whether every operation keeps samples apart along the first axis, so that one of a batch may be the baseline of
    the others."""
    return all(_apart(traced, node) for node in traced.graph.nodes)


def _apart(traced: fx.GraphModule, node: fx.Node) -> bool:
    what = operations.kind(traced, node)
    if what in ("input", "output", "weighted", "norm", "activation", "maxpool", "pool", "same", "size", "number"):
        return True
    if what == "add":
        return all(isinstance(each, fx.Node) for each in node.args[:2])
    if what == "cat":
        return (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) == 1
    if what == "reduce":
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return isinstance(dims, tuple | list) and all(d in (2, 3, -1, -2) for d in dims)
    if what == "reshape":
        if node.op == "call_module":
            module = traced.get_submodule(node.target)
            return isinstance(module, nn.Flatten) and module.start_dim == 1
        if node.target in (torch.flatten, "flatten"):
            return node.args[1:2] == (1,) or node.kwargs.get("start_dim") == 1
        sizes = node.args[1:]
        rows = node.args[0], 0
        return len(sizes) == 2 and sizes[1] == -1 and isinstance(sizes[0], fx.Node) and _size(sizes[0]) == rows
    return False


def _size(node: fx.Node) -> tuple[fx.Node, int] | None:
    """Of which value a node is the size, and of which axis."""
    if node.op == "call_method" and node.target == "size" and len(node.args) == 2:
        return node.args
    if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
        of = node.args[0]
        if (of.target == "size" and len(of.args) == 1) or (of.target is getattr and of.args[1] == "shape"):
            return of.args[0], node.args[1]
    return None


class Rescale(graphs.Visitor):
    """Runs a network so that its backward pass carries multipliers; `at` is as in `graphs.run`.

    `reference` has every node's value for the baseline, in the shape of the batch's own; without one the baseline is
    the batch's last sample. Raises ContributionError.
    """

    def __init__(self, traced: fx.GraphModule, at: dict, reference: dict[fx.Node, object] | None):
        super().__init__(traced, at)
        self.reference = reference
        self.changes: set[fx.Node] = set()  # nodes whose values depend on the input

    def run_node(self, node: fx.Node):
        what = operations.kind(self.module, node)
        depends = [source for source in node.all_input_nodes if source in self.changes]
        if node.op != "call_module" and node.target in _SHAPED:
            return super().run_node(node)
        if (depends or what == "input") and what not in ("size", "number"):
            self.changes.add(node)
        if depends and what in _OF_FIRST and self._changing(node) != list(node.args[:1]):
            raise self._no_rule(node, " by another value that changes")
        rule = getattr(self, f"_{what}", None)
        if depends and rule is not None:
            return self.visit(node, rule(node, *self.fetch_args_kwargs_from_env(node)))
        if depends and what not in _LINEAR:
            raise self._no_rule(node)
        return super().run_node(node)

    def _changing(self, node: fx.Node) -> list[fx.Node]:
        """What a node is called with that depends on the input, as often as it is."""
        found: list[fx.Node] = []
        fx.map_arg((node.args, node.kwargs), found.append)
        return [source for source in found if source in self.changes]

    def _no_rule(self, node: fx.Node, why: str = "") -> ContributionError:
        called = operations.called(self.module, node)
        return ContributionError(
            f"DeepLIFT has no rule for {node.name!r} ({called}{why}), expected operations that are linear, "
            f"element-wise, maxima, products, softmax, layer normalisation or attention; {_OTHER_METRICS}."
        )

    def _before(self, node) -> Tensor | None:
        """A value's baseline, where it does not travel with the batch."""
        return None if self.reference is None else self.reference[node]

    def _function(self, node: fx.Node, args: tuple, kwargs: dict, **more):
        """The node's operation as a function of its tensor alone, not in place."""
        if node.op == "call_module":
            module = self.module.get_submodule(node.target)
            for kind, function in _POOLS.items():
                if isinstance(module, kind):
                    shape = dict(stride=module.stride, padding=module.padding, dilation=module.dilation)
                    return lambda x: function(x, module.kernel_size, **shape, ceil_mode=module.ceil_mode, **more)
            for kind, function in _ADAPTIVE_POOLS.items():
                if isinstance(module, kind):
                    return lambda x: function(x, module.output_size, **more)
            return lambda x: module(x.clone()) if getattr(module, "inplace", False) else module(x)
        if node.op == "call_method":
            name = node.target.removesuffix("_")
            return lambda x: getattr(x, name)(*args, **kwargs)
        pools = {torch.max_pool2d: F.max_pool2d, torch.max_pool1d: F.max_pool1d}
        function, overwrites = pools.get(node.target, node.target), operations.in_place(self.module, node)
        kwargs = {name: value for name, value in kwargs.items() if name not in more}
        return lambda x: function(x.clone() if overwrites else x, *args, **kwargs, **more)

    # ------------------------------------------------------------------------------------------------------ the rules

    def _norm(self, node: fx.Node, args: tuple, kwargs: dict):
        module = self.module.get_submodule(node.target) if node.op == "call_module" else None
        instances = isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d)
        if instances and module.running_mean is None:  # of each sample by itself
            x, x0 = args[0], self._before(node.args[0])
            y = _standardised(x, x[-1:].detach() if x0 is None else x0, tuple(range(2, x.dim())), module.eps, True)
            by_channel = (1, -1, *[1] * (x.dim() - 2))
            return y if module.weight is None else y * module.weight.view(by_channel) + module.bias.view(by_channel)
        names = ("running_mean", "running_var", "weight", "bias", "training")
        given = dict(zip(names, args[1:], strict=False)) | kwargs
        by_function = module is None and (given.get("training") or given.get("running_mean") is None)
        if by_function or (module is not None and module.running_mean is None):
            raise ContributionError(
                f"DeepLIFT has no rule for {node.name!r}: it normalises with the batch's own statistics, so that one "
                f"sample's values depend on the others; {_OTHER_METRICS}."
            )
        return fx.Interpreter.run_node(self, node)

    def _add(self, node: fx.Node, args: tuple, kwargs: dict):
        # Never in place: the value added to may be one that is differentiated by.
        name = operations.called(self.module, node)
        return (torch.sub if "sub" in name else torch.add)(*args, **kwargs)

    def _activation(self, node: fx.Node, args: tuple, kwargs: dict):
        function = self._function(node, args[1:], kwargs)
        return _Activation.apply(args[0], function, self._before(node.args[0]))

    _prelu = _activation

    def _same(self, node: fx.Node, args: tuple, kwargs: dict):
        types = [getattr(each, "dtype", each) for each in (*args[1:], *kwargs.values())]  # of a tensor, its own
        if any(isinstance(each, torch.dtype) and not each.is_floating_point for each in types):
            raise ContributionError(f"DeepLIFT cannot pass {node.name!r}: it makes whole numbers; {_OTHER_METRICS}.")
        if node.target == "detach":  # a change goes on where a derivative does not
            return args[0]
        return fx.Interpreter.run_node(self, node)

    def _maxpool(self, node: fx.Node, args: tuple, kwargs: dict):
        if args[0].dim() < 3:
            raise ContributionError(f"DeepLIFT has no rule for {node.name!r}, a pool over units; {_OTHER_METRICS}.")
        function = self._function(node, args[1:], kwargs, return_indices=True)
        return _MaxPool.apply(args[0], function, self._before(node.args[0]))

    def _reduce(self, node: fx.Node, args: tuple, kwargs: dict):
        if operations.called(self.module, node) not in ("amax", "amin"):
            return fx.Interpreter.run_node(self, node)
        return self._extreme(node, args, kwargs)

    def _extreme(self, node: fx.Node, args: tuple, kwargs: dict) -> Tensor:
        """The largest or smallest over some axes."""
        name = operations.called(self.module, node)
        given = dict(zip(("dim", "keepdim"), args[1:], strict=False)) | kwargs
        x, x0, dims = args[0], self._before(node.args[0]), given.get("dim", ())
        dims = {d % x.dim() for d in ((dims,) if isinstance(dims, int) else dims or range(x.dim()))}
        if 0 in dims:
            raise ContributionError(f"DeepLIFT has no rule for {node.name!r}, a {name} over samples; {_OTHER_METRICS}.")
        sign = 1 if "max" in name else -1
        kept = [i for i in range(x.dim()) if i not in dims]

        def windows(value: Tensor) -> Tensor:
            return sign * value.permute(*kept, *sorted(dims)).flatten(len(kept)).reshape(len(value), -1, size)

        size = math.prod(x.shape[d] for d in dims)
        y = sign * _largest(windows(x), None if x0 is None else windows(x0))
        return y.view([1 if i in dims else n for i, n in enumerate(x.shape) if given.get("keepdim") or i not in dims])

    def _multiply(self, node: fx.Node, args: tuple, kwargs: dict):
        name = operations.called(self.module, node)
        if len(args) < 2 or kwargs.get("rounding_mode"):
            raise self._no_rule(node, f" with {', '.join(kwargs)}")
        first, second = args[:2]
        both = all(isinstance(each, fx.Node) and each in self.changes for each in node.args[:2])
        divides = "div" in name
        if divides and isinstance(node.args[1], fx.Node) and node.args[1] in self.changes:
            before = self._before(node.args[1])
            second = _Activation.apply(second, torch.reciprocal, before)
            if not both:
                return first * second
            return _product(torch.mul, first, second, self._before(node.args[0]), before.reciprocal())
        if not both:
            return first / second if divides else first * second
        return _product(torch.mul, first, second, self._before(node.args[0]), self._before(node.args[1]))

    def _larger(self, node: fx.Node, args: tuple, kwargs: dict):
        name = operations.called(self.module, node)
        sign = 1 if "max" in name else -1
        pairs = [torch.stack(torch.broadcast_tensors(*two), -1) for two in (args, map(self._before, node.args))]
        y = sign * _largest(*(sign * pair.reshape(len(pair), -1, 2) for pair in pairs))
        return y.view(pairs[0].shape[:-1])

    def _matmul(self, node: fx.Node, args: tuple, kwargs: dict):
        if len(args) < 2:
            raise self._no_rule(node, f" with {', '.join(kwargs)}")
        if not all(each in self.changes for each in node.args[:2]):
            return torch.matmul(*args[:2])
        return _product(torch.matmul, *args[:2], self._before(node.args[0]), self._before(node.args[1]))

    def _other(self, node: fx.Node, args: tuple, kwargs: dict):
        if node.op == "call_module":
            if isinstance(self.module.get_submodule(node.target), (*_LINEAR_MODULES, nn.Embedding)):
                return fx.Interpreter.run_node(self, node)  # what a table is read by are no numbers to change
            raise self._no_rule(node)
        if not node.args:
            raise self._no_rule(node, " with its arguments by name")
        changing, target = self._changing(node), node.target
        if target is torch.einsum and len(node.args) == 3 and len(changing) == 2:
            before = [self.reference[source] for source in node.args[1:]]
            return _product(functools.partial(torch.einsum, args[0]), *args[1:], *before)
        if target is F.normalize:
            return self._normalize(node, args, kwargs)
        if target in _SPREADS:
            return self._spread(node, args, kwargs)
        along = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if target in _WITH_PLACES and isinstance(along, int) and all(map(_is_values, node.users)):
            _, places = fx.Interpreter.run_node(self, node)
            return torch.return_types.max((self._extreme(node, args, kwargs), places))
        linear = (target in _LINEAR_IN_FIRST and changing == [node.args[0]]) or target == "view_as"
        linear |= target is torch.einsum and len(changing) == 1
        linear |= target is getattr and node.args[1] == "values"
        linear |= target is torch.where and node.args[0] not in changing
        linear |= target is torch.index_add and node.args[2] not in changing
        if target is operations.written or linear:
            return fx.Interpreter.run_node(self, node)
        if changing == [node.args[0]] and _is_python(target):
            return self._read_off(node, args, kwargs)
        raise self._no_rule(node)

    def _read_off(self, node: fx.Node, args: tuple, kwargs: dict):
        """A function that is one operation of the network's graph, by those that it is made of."""
        x, x0 = args[0], self._before(node.args[0])
        rest = fx.node.map_aggregate((args[1:], kwargs), lambda a: a.detach() if isinstance(a, Tensor) else a)
        try:
            traced = graphs.seen(_Call(node.target, *rest).eval(), x.detach())
        except operations.UnsupportedNetwork as error:
            raise self._no_rule(node, f": {error}") from error
        if any(each.target is node.target for each in traced.graph.nodes):
            raise self._no_rule(node)
        with torch.no_grad():
            reference = graphs.values(traced, x0)[0]
        return Rescale(traced, {}, reference).run(x)

    def _normalize(self, node: fx.Node, args: tuple, kwargs: dict):
        given = dict(p=2.0, dim=1, eps=1e-12) | dict(zip(("p", "dim", "eps"), args[1:], strict=False)) | kwargs
        if given["p"] != 2:
            raise self._no_rule(node)
        x, x0 = args[0], self.reference[node.args[0]]
        square, square0 = _elementwise(x, x0, torch.square)
        sums = (each.sum(given["dim"], keepdim=True) for each in (square, square0))
        r, r0 = _elementwise(*sums, lambda total: total.clamp_min(given["eps"] ** 2).rsqrt())
        return _product(torch.mul, x, r, x0, r0)

    def _spread(self, node: fx.Node, args: tuple, kwargs: dict):
        """The length, variance or standard deviation over some axes."""
        given = dict(zip(_SPREADS[node.target], args[1:], strict=False)) | kwargs
        x, x0, dims = args[0], self.reference[node.args[0]], given.get("dim")
        dims = (dims,) if isinstance(dims, int) else dims
        power = given.get("p", given.get("ord", 2))
        if not isinstance(dims, tuple | list) or any(d % x.dim() == 0 for d in dims) or power not in (2, "fro"):
            raise self._no_rule(node, f" of {', '.join(map(str, (*args[1:], *kwargs.items()))) or 'all there is'}")
        count = 1
        if node.target in (torch.var, "var", torch.std, "std"):
            x, x0 = (each - each.mean(dims, keepdim=True) for each in (x, x0))
            fewer = given.get("correction", given.get("unbiased", 1))
            count = math.prod(x.shape[d] for d in dims) - int(1 if fewer is None else fewer)
        squares = _elementwise(x, x0, torch.square)
        total, total0 = (each.sum(dims, keepdim=bool(given.get("keepdim"))) / count for each in squares)
        return total if node.target in (torch.var, "var") else _elementwise(total, total0, _root)[0]

    def _softmax(self, node: fx.Node, args: tuple, kwargs: dict):
        module = self.module.get_submodule(node.target) if node.op == "call_module" else None
        dim = module.dim if module is not None else kwargs.get("dim", args[1] if len(args) > 1 else None)
        log = "log" in (type(module).__name__ if module is not None else str(node.target)).lower()
        if dim is None:
            raise ContributionError(f"DeepLIFT cannot pass {node.name!r}: its dim is not given; {_OTHER_METRICS}.")
        return _softmax(args[0], self._before(node.args[0]), dim, log)[0]

    def _layernorm(self, node: fx.Node, args: tuple, kwargs: dict):
        kind, given = self._layernorm_of(node, args, kwargs)
        if kind not in (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm):
            raise ContributionError(f"DeepLIFT has no rule for {node.name!r} ({kind.__name__}); {_OTHER_METRICS}.")
        x, x0 = args[0], self._before(node.args[0])
        eps = given.get("eps")
        eps = eps if eps is not None else torch.finfo(x.dtype).eps if kind is nn.RMSNorm else 1e-5
        if kind is nn.GroupNorm:
            apart = [value.unflatten(1, (given["num_groups"], -1)).flatten(2) for value in (x, x0)]
            y, over = _standardised(*apart, (2,), eps, True).view_as(x), (1, -1, *[1] * (x.dim() - 2))
        else:
            over = tuple(given["normalized_shape"])
            y = _standardised(x, x0, tuple(range(-len(over), 0)), eps, kind is nn.LayerNorm)
        weight, bias = given.get("weight"), given.get("bias")
        y = y if weight is None else y * weight.view(over)
        return y if bias is None else y + bias.view(over)

    def _layernorm_of(self, node: fx.Node, args: tuple, kwargs: dict) -> tuple[type, dict]:
        """Which normalisation a node is, and what it is called with."""
        names = ("normalized_shape", "num_groups", "weight", "bias", "eps")
        if node.op == "call_module":
            module = self.module.get_submodule(node.target)
            kinds = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
            kind = next((kind for kind in kinds if isinstance(module, kind)), type(module))
            return kind, {name: getattr(module, name, None) for name in names}
        kind = {F.layer_norm: nn.LayerNorm, F.rms_norm: nn.RMSNorm, F.group_norm: nn.GroupNorm}[node.target]
        left_out = {nn.LayerNorm: "num_groups", nn.RMSNorm: ("num_groups", "bias"), nn.GroupNorm: "normalized_shape"}
        order = [name for name in names if name not in left_out[kind]]
        return kind, dict(zip(order, args[1:], strict=False)) | kwargs

    def _attention(self, node: fx.Node, args: tuple, kwargs: dict):
        if node.op == "call_module":
            return self._multihead(node, args, kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        nodes = dict(zip(names, node.args, strict=False)) | node.kwargs
        given = dict(zip(names, args, strict=False)) | kwargs
        if nodes.get("attn_mask") in self._changing(node):
            raise self._no_rule(node, " with a mask that changes")
        if given.get("enable_gqa"):
            raise self._no_rule(node, " of grouped heads")
        qkv, before = [given[name] for name in names[:3]], [self.reference[nodes[name]] for name in names[:3]]
        mask = given.get("attn_mask")
        if given.get("is_causal"):
            mask = qkv[0].new_ones(qkv[0].shape[-2], qkv[1].shape[-2], dtype=torch.bool).tril()
        return _attend(qkv, before, mask, given.get("scale"))

    def _multihead(self, node: fx.Node, args: tuple, kwargs: dict):
        module: nn.MultiheadAttention = self.module.get_submodule(node.target)
        if any(user.users for user in node.users if not _is_values(user)):
            raise self._no_rule(node, ", whose weights are read")
        names = ("query", "key", "value")
        nodes = dict(zip(names, node.args, strict=False)) | node.kwargs
        given = dict(zip(names, args, strict=False)) | kwargs
        mask = given.get("attn_mask")
        fine = (*names, "need_weights", *(["attn_mask"] if mask is None or mask.dim() == 2 else []))
        odd = [name for name, value in given.items() if name not in fine and not isinstance(value, bool | None)]
        own = module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
        if odd or len(args) > 3 or not own or nodes.get("attn_mask") in self.changes:
            raise ContributionError(
                f"DeepLIFT has no rule for {node.name!r} as it is called: {odd or module}; {_OTHER_METRICS}."
            )
        values, befores = [given[name] for name in names], [self.reference[nodes[name]] for name in names]
        heads, width = module.num_heads, module.embed_dim

        def projected(three: list[Tensor]) -> list[Tensor]:
            weights = module.in_proj_weight.chunk(3)
            biases = [None] * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
            out = [F.linear(v, w, b) for v, w, b in zip(three, weights, biases, strict=True)]
            out = out if module.batch_first else [v.transpose(0, 1) for v in out]
            return [v.unflatten(-1, (heads, width // heads)).transpose(1, 2) for v in out]

        with torch.no_grad():
            before = projected(befores)
        # Of a module the mask says who is hidden, of the function who is seen.
        mask = ~mask if mask is not None and mask.dtype == torch.bool else mask
        y = _attend(projected(values), before, mask, None)
        y = y.transpose(1, 2).flatten(2)
        y = module.out_proj(y if module.batch_first else y.transpose(0, 1))
        return y, None


_POOLS = {nn.MaxPool1d: F.max_pool1d, nn.MaxPool2d: F.max_pool2d, nn.MaxPool3d: F.max_pool3d}
_ADAPTIVE_POOLS = {nn.AdaptiveMaxPool1d: F.adaptive_max_pool1d, nn.AdaptiveMaxPool2d: F.adaptive_max_pool2d,
                   nn.AdaptiveMaxPool3d: F.adaptive_max_pool3d}  # fmt: skip


class _Call(nn.Module):
    """A function of one tensor, all else that it is called with at hand."""

    def __init__(self, function: Callable, rest: tuple, named: dict):
        super().__init__()
        self.function, self.rest, self.named = function, rest, named

    def forward(self, x: Tensor):
        return self.function(x, *self.rest, **self.named)


def _is_python(target) -> bool:
    """Whether what a node calls is a function in Python that can be read off by itself, such as torchvision's attention
    of shifted windows: not torch's own, nor a user's autograd.Function."""
    torchs = (getattr(target, "__module__", None) or "torch.").startswith("torch.")
    return isinstance(target, types.FunctionType) and not torchs and not hasattr(target, "of")


def _is_values(user: fx.Node) -> bool:
    """Whether a node takes the values of what has values and places, and nothing else of it."""
    return (user.target is operator.getitem and user.args[1] == 0) or (
        user.target is getattr and user.args[1] == "values"
    )


def _product(by: Callable, a: Tensor, b: Tensor, a0: Tensor, b0: Tensor) -> Tensor:
    """A bilinear operation of two values that both change."""
    with torch.no_grad():
        value, half_a, half_b = by(a, b), (a + a0) / 2, (b + b0) / 2
    shares = by(a, half_b) + by(half_a, b)
    return value + shares - shares.detach()


def _elementwise(x: Tensor, x0: Tensor, function: Callable) -> tuple[Tensor, Tensor]:
    """An element-wise operation's value, and its baseline."""
    return _Activation.apply(x, function, x0), function(x0)


def _largest(x: Tensor, x0: Tensor | None) -> Tensor:
    """The largest of each window (N, windows, size), as max-pooling has it."""
    return _MaxPool.apply(x, functools.partial(F.adaptive_max_pool1d, output_size=1, return_indices=True), x0)


def _root(x: Tensor) -> Tensor:
    """The square root, whose derivative at zero is taken for zero."""
    return torch.where(x > 0, x, torch.ones_like(x)).sqrt() * (x > 0)


def _softmax(x: Tensor, x0: Tensor, dim: int, log: bool = False) -> tuple[Tensor, Tensor]:
    """Softmax and its baseline. Both are shifted by the larger of their maxima, which changes neither."""
    with torch.no_grad():
        shift = torch.maximum(x, x0).amax(dim, keepdim=True)
        shift = torch.where(shift.isfinite(), shift, torch.zeros_like(shift))
    e, e0 = _elementwise(x - shift, x0 - shift, torch.exp)
    total, total0 = e.sum(dim, keepdim=True), e0.sum(dim, keepdim=True)
    if log:
        logged, logged0 = _elementwise(total, total0, torch.log)
        return x - shift - logged, x0 - shift - logged0
    r, r0 = _elementwise(total, total0, torch.reciprocal)
    return _product(torch.mul, e, r, e0, r0), e0 * r0


def _standardised(x: Tensor, x0: Tensor, dims: tuple[int, ...], eps: float, centred: bool) -> Tensor:
    """Layer normalisation over dims, without its scale and shift."""
    if centred:
        x, x0 = x - x.mean(dims, keepdim=True), x0 - x0.mean(dims, keepdim=True)
    square, square0 = _elementwise(x, x0, torch.square)
    r, r0 = _elementwise(square.mean(dims, keepdim=True) + eps, square0.mean(dims, keepdim=True) + eps, torch.rsqrt)
    return _product(torch.mul, x, r, x0, r0)


def _attend(qkv: list, before: list, mask: Tensor | None, scale: float | None) -> Tensor:
    """Scaled dot-product attention; the mask does not change."""
    q, k, v = qkv
    q0, k0, v0 = before
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = _product(torch.matmul, q, k.transpose(-1, -2), q0, k0.transpose(-1, -2)) * scale
    scores0 = q0 @ k0.transpose(-1, -2) * scale
    if mask is not None:
        added = torch.zeros_like(scores0).masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask
        scores, scores0 = scores + added, scores0 + added
    weights, weights0 = _softmax(scores, scores0, -1)
    return _product(torch.matmul, weights, v, weights0, v0)


class _Activation(torch.autograd.Function):
    """An element-wise nonlinearity; backward by the rescale rule: change of output over change of input."""

    @staticmethod
    def forward(ctx, x: Tensor, function, x0: Tensor | None):
        y = function(x)
        x0, y0 = (x[-1:], y[-1:]) if x0 is None else (x0, function(x0))
        ctx.save_for_backward(x, y, x0, y0)
        ctx.function = function
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, y, x0, y0 = ctx.saved_tensors
        change = x - x0
        flat = ~(change.abs() >= _EPS)  # and where both are masked, at -inf
        multiplier = (y - y0) / change.masked_fill(flat, 1)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (derivative,) = torch.autograd.grad(ctx.function(leaf).sum(), leaf)
        return gradient * torch.where(flat, derivative, multiplier), None, None


class _MaxPool(torch.autograd.Function):
    """Max-pooling; backward puts the change of each output where it comes from, so that attributions stay complete.

    With p the position of a window's maximum in the sample and q in the baseline: the change of the output,
    x_p - r_q, goes to p where it is positive and to q where it is negative; both then had a change of that sign and
    at least that size, so the multipliers are in [0, 1]. Windows may overlap: what a position gets adds up.
    """

    @staticmethod
    def forward(ctx, x: Tensor, function, x0: Tensor | None):
        y, indices = function(x)
        y0, indices0 = (y[-1:], indices[-1:]) if x0 is None else function(x0)
        ctx.save_for_backward(x, y, indices, x[-1:] if x0 is None else x0, y0, indices0)
        ctx.n = len(x) - 1 if x0 is None else len(x)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, y, indices, x0, y0, indices0 = ctx.saved_tensors
        n = ctx.n
        change = (x - x0).flatten(2)[:n]
        rise = (y - y0).flatten(2)[:n]
        at = torch.where(rise >= 0, indices.flatten(2)[:n], indices0.flatten(2).expand(n, -1, -1))
        there = change.gather(2, at)
        flat = there.abs() < _EPS
        ratio = torch.where(flat, torch.ones_like(rise), rise / there.masked_fill(flat, 1))
        multiplier = torch.zeros_like(x).flatten(2)
        multiplier[:n].scatter_add_(2, at, gradient.flatten(2)[:n] * ratio)
        return multiplier.view_as(x), None, None
