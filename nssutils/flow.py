"""Follow dropped neurons through a network: what is left of every value, and the graph that computes just that.

Where neurons are masked, their values are zero. Behind them an operation gives some constant (batch normalisation its
shift, a sigmoid one half), until one mixes neurons. An operation with a rule passes on which entries of which axis are
left, and what the others are. One without a rule gets its inputs at full width, the dropped entries at their constants.
So what comes out is the masked network's whether there is a rule or not; a rule only makes it smaller.
"""

import copy
import inspect
import math
import operator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nssutils import operations, tracing


@dataclass(frozen=True)
class Left:
    """What is left of a value: the entries `kept` along an axis. Every other one is `fill`, at all its positions."""

    axis: int
    kept: Tensor  # bool (n,); of more dimensions where the axis was split, but not yet that of the smaller value
    fill: Tensor  # in the shape of kept, on the CPU; it means nothing where an entry is kept


@dataclass(frozen=True)
class Smaller:
    """What is left of a module: `outputs` and `inputs`, bool, are those that are kept, `shift` is what the dropped
    inputs add to its biases. `rows` (outputs,) and `columns` (groups, inputs / groups) are what the smaller module
    has: more, where the groups of a convolution must be of one size. `matter` (outputs,) are those whose parameters the
    masked network's output depends on: more, too, where they make a constant of what was dropped."""

    outputs: Tensor
    inputs: Tensor
    rows: Tensor
    columns: Tensor
    matter: Tensor
    shift: Tensor | None = None

    @property
    def whole(self) -> bool:
        return bool(self.rows.all() and self.columns.all() and self.shift is None)


@dataclass(frozen=True)
class Cut:
    """A masked layer."""

    mask: Tensor  # bool (width,), True = kept
    weighted: str  # fx node of the weighted module
    site: str  # fx node at which its neurons are masked
    axis: int  # of the neurons in the site's value
    at_once: bool  # whether all between the two acts on each neuron by itself, so that it can go from the first on


@dataclass
class Flow:
    """The graph of the smaller network, and what it needs."""

    graph: fx.Graph
    modules: dict[str, Smaller] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)  # indices and constants that the graph reads
    constants: dict[str, Tensor] = field(default_factory=dict)  # which elements of the network's own constants are left
    matter: dict[str, Tensor] = field(default_factory=dict)  # and on which its output depends, as of Smaller
    logits: Left | None = None  # what is left of the output, or of that of which a softmax makes it
    plain: bool = True  # whether the network's own forward() does, with its modules made smaller


def follow(traced: fx.GraphModule, cuts: list[Cut]) -> Flow:
    """The flow through a traced network in eval mode that has its `graphs.shapes`."""
    return _Follower(_picked(traced), cuts).flow


def level(mask: Tensor, live: Tensor) -> Tensor:
    """A mask (groups, members) with as many members in each live group as the fullest has, and none in the others."""
    count = int(mask[live].sum(1).max()) if live.any() else 0
    first = (~mask).byte().argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(mask).scatter_(1, first, True) & live[:, None]


def _picked(traced: fx.GraphModule) -> fx.GraphModule:
    """The network with each piece of a split value named where several are taken at once, as by torch.cat(x.chunk(2)):
    each may lack entries of its own."""

    def picks(node: fx.Node, user: fx.Node) -> bool:
        return user.target is operator.getitem and user.args[0] is node

    def several(node: fx.Node) -> bool:
        ones = [user for user in node.users if picks(node, user) and isinstance(user.args[1], int)]
        return any(user not in ones and operations.kind(traced, user) != "size" for user in node.users)

    def name(node: fx.Node, pieces: list[fx.Node]) -> None:
        for user in [user for user in node.users if user not in pieces and operations.kind(traced, user) != "size"]:
            if not picks(node, user):
                user.args, user.kwargs = fx.map_arg((user.args, user.kwargs), lambda n: pieces if n is node else n)
            elif isinstance(user.args[1], int):
                user.replace_all_uses_with(pieces[user.args[1]])
            else:
                name(user, pieces[user.args[1]])  # as of x.chunk(2)[::-1]

    if not any(operations.kind(traced, node) == "split" and several(node) for node in traced.graph.nodes):
        return traced
    traced = fx.GraphModule(traced, copy.deepcopy(traced.graph))
    for node in [node for node in traced.graph.nodes if operations.kind(traced, node) == "split" and several(node)]:
        with traced.graph.inserting_after(node):
            pieces = [traced.graph.call_function(operator.getitem, (node, i)) for i in range(len(node.meta["shape"]))]
        for piece, shape in zip(pieces, node.meta["shape"], strict=True):
            piece.meta["shape"] = shape
        name(node, pieces)
    return traced


class _Follower:
    """One pass over the graph; `small[node]` and `left[node]` are the smaller network's node and what it lacks."""

    def __init__(self, traced: fx.GraphModule, cuts: list[Cut]):
        self.traced, self.flow = traced, Flow(fx.Graph())
        dtypes = {p.dtype for p in traced.parameters() if p.is_floating_point()}
        self.dtype = dtypes.pop() if len(dtypes) == 1 else None  # of constants; None where values have several
        self.graph = self.flow.graph
        self.cuts = {cut.weighted: cut for cut in cuts}
        sites = {cut.site: cut for cut in cuts}
        self.small: dict[fx.Node, object] = {}  # of sizes: numbers, nodes and lists of both
        self.left: dict[fx.Node, Left | tuple | None] = {}
        self.taken: dict[tuple, fx.Node] = {}
        self.cut_constants: dict[tuple, fx.Node] = {}
        called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
        read = operations.read_besides(traced)
        self.shared = {target for target in called if called.count(target) > 1 or target in read}  # left whole
        self.ahead = self._before_sites()
        for node in traced.graph.nodes:
            rule = getattr(self, f"_{operations.kind(traced, node)}", self._opaque)
            self._keep(node, *rule(node))
            if node.name in sites:
                self._keep(node, *self._masked(node, sites[node.name]))
        self._read_whole()
        self.flow.logits = self._one(self._logits())

    def _before_sites(self) -> dict[fx.Node, Tensor]:
        """The nodes between weighted modules and their sites, and the masks that what they give meets there."""
        found = {}
        for node in self.traced.graph.nodes:
            cut = self.cuts.get(node.name)
            while cut is not None and cut.at_once and node.name != cut.site:
                node = next(user for user in node.users if operations.kind(self.traced, user) != "size")
                found[node] = cut.mask
        return found

    def _read_whole(self) -> None:
        """Constants of the network's own that something in the smaller one reads as they are: all of them is left."""
        for node in self.traced.graph.nodes:
            if node.op != "get_attr" or not isinstance(operations.attribute(self.traced, node.target), Tensor):
                continue
            sizes = [self.small.get(user) for user in node.users if operations.kind(self.traced, user) == "size"]
            if any(user not in sizes for user in self.small[node].users):
                whole = torch.ones_like(operations.attribute(self.traced, node.target), dtype=torch.bool, device="cpu")
                self.flow.constants[node.target] = self.flow.matter[node.target] = whole

    def _logits(self) -> fx.Node | None:
        """The network's output, or of what a softmax makes it."""
        node = next(node for node in self.traced.graph.nodes if node.op == "output").args[0]
        while isinstance(node, fx.Node) and operations.kind(self.traced, node) == "softmax":
            node = node.args[0] if node.args else None
        return node

    def _matter(self, node: fx.Node, left: Left, changing: Tensor | None = None) -> Tensor:
        """Whose parameters the output depends on, of an operation on each neuron by itself: also of dropped ones, which
        it makes a constant of, be it of zero, but for those that are masked thereafter. `changing`, where given, are
        those that it does not leave as they are."""
        changed = torch.ones_like(left.kept) if changing is None else changing
        return left.kept | (changed & self.ahead.get(node, changed))

    def _keep(self, node: fx.Node, small, left) -> None:
        self.small[node] = small
        self.left[node] = None if isinstance(left, Left) and left.kept.all() else left

    # --------------------------------------------------------------------------------------- what the rules are made of

    def _rank(self, node: fx.Node) -> int:
        return len(node.meta["shape"])

    def _copy(self, node: fx.Node, given: dict | None = None, args=None):
        """The node's operation on the smaller values of its inputs, but for those `given`."""

        def new(source: fx.Node):
            value = given[source] if given and source in given else self._usable(source)
            self.flow.plain &= not isinstance(value, list)
            return value

        args, kwargs = node.args if args is None else args, node.kwargs
        # A value given in place of another is a node of the new graph already.
        args, kwargs = fx.map_arg((args, kwargs), lambda n: n if n.graph is self.graph else new(n))
        if node.op == "output":
            return self.graph.output(args[0])
        copied = self.graph.create_node(node.op, node.target, args, kwargs, node.name)
        copied.meta["of"] = node.name
        return copied

    def _opaque(self, node: fx.Node):
        """An operation of which nothing is known: on its inputs at full width."""
        return self._copy(node, {source: self._whole(source) for source in node.all_input_nodes}), None

    def _call(self, function, *args, **kwargs) -> fx.Node:
        """An operation that is not in the network's own forward()."""
        self.flow.plain = False
        return self.graph.call_function(function, args, kwargs)

    def _tensor(self, name: str, value: Tensor) -> fx.Node:
        """A node that reads a tensor which the network itself does not have."""
        self.flow.plain = False
        name = name.replace(".", "_")
        while name in self.flow.tensors or hasattr(self.traced, name):
            name += "_"
        self.flow.tensors[name] = value
        return self.graph.create_node("get_attr", name)

    def _one(self, node) -> Left | None:
        """What is left of a value along one of its axes; None where it is whole, or split on paper only."""
        left = self.left.get(node) if isinstance(node, fx.Node) else None
        return left if isinstance(left, Left) and left.kept.dim() == 1 else None

    def _usable(self, node: fx.Node):
        """The smaller value, or the whole one where it has been split on paper only."""
        return self.small[node] if self._one(node) or not isinstance(self.left[node], Left) else self._whole(node)

    def _along(self, node: fx.Node, axis: int) -> tuple[object, Left]:
        """The value as one that may lack entries along the given axis, and what it lacks."""
        left = self._one(node)
        if left is not None and left.axis == axis:
            return self.small[node], left
        n = node.meta["shape"][axis]
        return self._whole(node), Left(axis, torch.ones(n, dtype=torch.bool), _nothing(n))

    def _whole(self, node: fx.Node):
        """The value at full width."""
        left = self.left[node]
        if not isinstance(left, Left):
            return self.small[node]
        if left.kept.dim() == 1:
            return self._take(node, self.small[node], left, torch.ones_like(left.kept))
        if (node,) not in self.taken:
            self.flow.plain = False
            self.taken[node,] = self._copy(node, {source: self._whole(source) for source in node.all_input_nodes})
        return self.taken[node,]

    def _take(self, node: fx.Node, small, left: Left, entries: Tensor):
        """The given entries, bool (n,), of a value: those that it has, and constants for the others."""
        if torch.equal(left.kept, entries):
            return small
        key = (small, tuple(entries.tolist()))
        if key in self.taken:
            return self.taken[key]
        constant, places, name = entries & ~left.kept, left.kept.cumsum(0) - 1, node.name
        if constant.any():
            # One more entry for each constant among those wanted, behind those that are left.
            values, which = left.fill[constant].unique(return_inverse=True)
            pad = self._call(torch.zeros_like, self._call(torch.narrow, small, left.axis, 0, 1))
            if len(values) > 1 or values[0] != 0:
                values = values.view(-1, *[1] * (self._rank(node) - left.axis - 1))
                constants = self._tensor(f"{name}_constants", values.to(self.dtype or torch.float64))
                if self.dtype is None:
                    constants = self.graph.call_method("type_as", (constants, pad))
                pad = self._call(torch.add, pad, constants)
            small = self._call(torch.cat, (small, pad), left.axis)
            places[constant] = left.kept.sum() + which
        index = self._tensor(f"{name}_places", places[entries])
        self.taken[key] = self._call(torch.index_select, small, left.axis, index)
        return self.taken[key]

    def _zeroed(self, node: fx.Node, axis: int) -> tuple[object, Left]:
        """The value with all entries that are not zero."""
        small, left = self._along(node, axis)
        kept = left.kept | (left.fill != 0)
        return self._take(node, small, left, kept), Left(axis, kept, torch.zeros_like(left.fill))

    def _constant_at(self, node: fx.Node, dim: int, kept: Tensor, matter: Tensor) -> fx.Node:
        """The kept entries of a parameter or buffer along one dimension; `matter` as of Smaller."""
        key = (node.target, dim, tuple(kept.tolist()))
        if key not in self.cut_constants:
            tensor = operations.attribute(self.traced, node.target)
            index = kept.nonzero()[:, 0].to(tensor.device)
            smaller = tensor.detach().index_select(dim, index)
            smaller = nn.Parameter(smaller, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else smaller
            self.cut_constants[key] = self._tensor(node.target, smaller)
            self._note(self.flow.constants, node.target, dim, kept)
        self._note(self.flow.matter, node.target, dim, matter)
        return self.cut_constants[key]

    def _note(self, elements: dict[str, Tensor], name: str, dim: int, entries: Tensor) -> None:
        """Add the entries along a dimension of a constant to the elements that are known of it."""
        tensor = operations.attribute(self.traced, name)
        these = entries.view(*[-1 if i == dim else 1 for i in range(tensor.dim())]).expand(tensor.shape)
        elements[name] = elements.get(name, torch.zeros_like(these)) | these

    def _masked(self, node: fx.Node, cut: Cut):
        """A layer's value at its site: zero outside the mask."""
        small, left = self._along(node, cut.axis)
        kept = _some(left.kept & cut.mask, cut.mask)
        fill = torch.where(cut.mask, left.fill, torch.zeros_like(left.fill))
        return self._take(node, small, left, kept), Left(cut.axis, kept, fill)

    # ------------------------------------------------------------------------------------------------------ the rules

    def _input(self, node: fx.Node):
        return self._copy(node), None

    def _weighted(self, node: fx.Node):
        module = self.traced.get_submodule(node.target)
        dense = isinstance(module, nn.Linear)
        unusual = len(node.args) != 1 or node.target in self.shared
        if unusual or not (dense or self._rank(node) == len(module.kernel_size) + 2):
            return self._opaque(node)
        axis = self._rank(node) - 1 if dense else 1
        groups = 1 if dense else module.groups
        small, left = self._along(node.args[0], axis)
        shift = None
        if (left.fill[~left.kept] != 0).any():
            if groups > 1 or not (dense or _borderless(module)):
                small, left = self._zeroed(node.args[0], axis)  # at the border a window meets the padding's zeros
            else:
                weight = module.weight.detach().cpu().double()[:, ~left.kept]
                shift = (weight if dense else weight.flatten(2).sum(2)) @ left.fill[~left.kept]
        cut, width = self.cuts.get(node.name), len(module.weight)
        outputs = cut.mask if cut and cut.at_once else torch.ones(width, dtype=torch.bool)
        rows, columns, fill, matter = outputs, left.kept.view(groups, -1), _nothing(width), outputs
        if groups > 1:
            by_group = outputs.view(groups, -1)
            live = _some(by_group.any(1) & columns.any(1), torch.ones(groups, dtype=torch.bool))
            rows, columns = level(_some_of(by_group, live), live).flatten(), level(_some_of(columns, live), live)
            dead = ~live.repeat_interleave(width // groups)
            fill = fill if module.bias is None else torch.where(dead, module.bias.detach().cpu().double(), fill)
            outputs = outputs & ~dead  # which give their bias, a constant
        self.flow.modules[node.target] = Smaller(outputs, left.kept, rows, columns, matter, shift)
        read = self._take(node.args[0], small, left, columns.flatten())
        return self._copy(node, {node.args[0]: read}), Left(axis, rows, fill)

    def _norm(self, node: fx.Node):
        source = node.args[0] if node.args else None
        left = self._one(source)
        if left is None or left.axis != 1 or node.target in self.shared:
            return self._opaque(node)
        if node.op == "call_module":
            module = self.traced.get_submodule(node.target)
            matter = self._matter(node, left)
            self.flow.modules[node.target] = Smaller(left.kept, left.kept, left.kept, left.kept[None], matter)
            mean, var, weight, bias = module.running_mean, module.running_var, module.weight, module.bias
            return self._copy(node), Left(1, left.kept, _normalised(left.fill, mean, var, weight, bias, module.eps))
        given = dict(inspect.signature(F.batch_norm).bind(*node.args, **node.kwargs).arguments)
        names = ("running_mean", "running_var", "weight", "bias")
        constants = [given.get(name) for name in names]
        if any(c is not None and (not isinstance(c, fx.Node) or c.op != "get_attr") for c in constants):
            return self._opaque(node)
        values = [None if c is None else operations.attribute(self.traced, c.target) for c in constants]
        if given.get("training"):
            values[0] = None  # the batch's own statistics count
        cut = {c: self._constant_at(c, 0, left.kept, self._matter(node, left)) for c in constants if c is not None}
        return self._copy(node, cut), Left(1, left.kept, _normalised(left.fill, *values, given.get("eps", 1e-5)))

    def _activation(self, node: fx.Node):
        left = self._one(node.args[0] if node.args else None)
        if left is None or len(node.all_input_nodes) > 1:
            return self._opaque(node)
        fill = left.fill.clone()
        if node.op == "call_module":
            fill = self.traced.get_submodule(node.target)(fill)
        elif node.op == "call_method":
            fill = getattr(fill, node.target)(*node.args[1:], **node.kwargs)
        else:
            fill = node.target(fill, *node.args[1:], **node.kwargs)
        if not fill[~left.kept].isfinite().all():
            return self._opaque(node)
        return self._copy(node), Left(left.axis, left.kept, fill.detach())

    def _prelu(self, node: fx.Node):
        module, left = self.traced.get_submodule(node.target), self._one(node.args[0])
        if left is None or node.target in self.shared or (module.num_parameters > 1 and left.axis != 1):
            return self._opaque(node)
        if module.num_parameters > 1:
            matter = self._matter(node, left, left.fill < 0)
            self.flow.modules[node.target] = Smaller(left.kept, left.kept, left.kept, left.kept[None], matter)
        fill = F.prelu(left.fill[None], module.weight.detach().cpu().double())[0]
        return self._copy(node), Left(left.axis, left.kept, fill)

    def _pooled(self, node: fx.Node) -> Left | None:
        """What is left of the channels that a pooling reads: those of samples (N, C, ...), and not of a single one."""
        source = node.args[0] if node.args else None
        left, name = self._one(source), operations.called(self.traced, node).lower()
        rank = next((int(d) + 2 for d in "123" if f"{d}d" in name), None)
        return left if left is not None and left.axis == 1 and rank in (None, self._rank(source)) else None

    def _maxpool(self, node: fx.Node):
        left = self._pooled(node)
        return self._opaque(node) if left is None else (self._copy(node), left)

    def _pool(self, node: fx.Node):
        left = self._pooled(node)
        if left is None:
            return self._opaque(node)
        module = self.traced.get_submodule(node.target) if node.op == "call_module" else None
        keeps = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, F.interpolate, F.upsample)
        divided = getattr(module, "divisor_override", None) is not None  # by another number than there are
        padded = getattr(module, "padding", 0) not in (0, (0,), (0, 0), (0, 0, 0))
        if not (divided or padded) and (module or node.target in keeps):
            return self._copy(node), left  # the average of a constant
        small, left = self._zeroed(node.args[0], 1)  # at the border it may be the average of a constant and of zeros
        return self._copy(node, {node.args[0]: small}), left

    def _same(self, node: fx.Node):
        left = self.left[node.args[0]]
        if (dtype := node.meta.get("dtype")) is not None and not dtype.is_floating_point:
            return self._opaque(node)  # whole numbers
        return (self._copy(node, {node.args[0]: self.small[node.args[0]]}), left) if left else self._opaque(node)

    def _reshape(self, node: fx.Node):
        source = node.args[0] if node.args else None
        left = self.left.get(source) if isinstance(source, fx.Node) else None
        if not isinstance(left, Left):
            return self._opaque(node)
        before, after = list(source.meta["shape"]), list(node.meta["shape"])
        found = _regrouped(before, after, left)
        if found is None:
            return self._opaque(node)
        if found.kept.dim() > 1:  # only on paper, until it comes together again
            return self.small[source], found
        if node.op != "call_module" and node.target in ("view", "reshape", torch.reshape):
            sizes = node.args[1:] if len(node.args) > 2 or not isinstance(node.args[1], tuple | list) else node.args[1]
            sizes = [self.small[n] if isinstance(n, fx.Node) else n for n in sizes]
            if len(sizes) == 1 and isinstance(sizes[0], list):  # view(x.shape)
                sizes = list(sizes[0])
            if len(sizes) != len(after):
                return self._opaque(node)
            if sizes[found.axis] != -1 and not (found.kept.all() and isinstance(sizes[found.axis], int)):
                sizes[found.axis] = int(found.kept.sum())
                self.flow.plain = False
            if left.kept.dim() > 1:
                self.flow.plain = False
            return self.graph.call_function(torch.reshape, (self.small[source], sizes)), found
        if left.kept.dim() > 1:
            if [*before[: left.axis], left.kept.numel(), *before[left.axis + left.kept.dim() :]] != after:
                return self._opaque(node)
            self.flow.plain = False
            return self.small[source], found  # flattened together again
        if node.target in (torch.unflatten, "unflatten") or isinstance(self._module(node), nn.Unflatten):
            return self._opaque(node)
        if node.target in (torch.squeeze, "squeeze") and int(found.kept.sum()) == 1:
            return self._opaque(node)  # which would drop the neurons' axis, too
        return self._copy(node), found

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.traced.get_submodule(node.target) if node.op == "call_module" else None

    def _permute(self, node: fx.Node):
        source, left = node.args[0], self.left[node.args[0]]
        if not isinstance(left, Left):
            return self._opaque(node)
        # Where each axis goes: seen on a tensor whose sizes tell its axes apart.
        sizes = [i + 2 for i in range(self._rank(source))]
        dims = node.args[1:]
        marked = torch.empty(sizes, device="meta")
        if node.op == "call_method":
            moved = getattr(marked, node.target)(*dims, **node.kwargs)
        else:
            moved = node.target(marked, *dims, **node.kwargs)
        came = [size - 2 for size in moved.shape]
        if left.kept.dim() == 1:
            return self._copy(node), Left(came.index(left.axis), left.kept, left.fill)
        within = range(left.axis, left.axis + left.kept.dim())
        if any((i in within) != (axis in within) or (i not in within and i != axis) for i, axis in enumerate(came)):
            return self._opaque(node)
        order = [came[i] - left.axis for i in within]
        places = (left.kept.flatten().cumsum(0) - 1).view_as(left.kept).permute(order)
        kept, fill = left.kept.permute(order), left.fill.permute(order)
        index = self._tensor(f"{node.name}_places", places[kept])
        return self._call(torch.index_select, self.small[source], left.axis, index), Left(left.axis, kept, fill)

    def _reduce(self, node: fx.Node):
        left, source = self._one(node.args[0]), node.args[0]
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        if left is None or dims is None or not isinstance(dims, int | tuple | list):
            return self._opaque(node)
        dims = [d % self._rank(source) for d in ((dims,) if isinstance(dims, int) else dims)]
        if left.axis in dims:
            return self._opaque(node)
        small = self.small[source]
        if "sum" in (node.target, getattr(node.target, "__name__", "")):
            small, left = self._zeroed(source, left.axis)
        gone = 0 if self._rank(node) == self._rank(source) else sum(d < left.axis for d in dims)
        return self._copy(node, {source: small}), Left(left.axis - gone, left.kept, left.fill)

    def _add(self, node: fx.Node):
        return self._elementwise(node, zero=())

    def _multiply(self, node: fx.Node):
        # A product is zero where either is; a quotient where its numerator is.
        name = node.target if isinstance(node.target, str) else node.target.__name__
        return self._elementwise(node, zero=(0,) if "div" in name else (0, 1))

    def _elementwise(self, node: fx.Node, zero: tuple[int, ...]):
        """Two values, one by one; `zero` says which of them makes the result zero where it is."""
        operands = node.args[:2]
        lefts = [self._one(x) for x in operands]
        odd = not all(name == "alpha" and isinstance(value, int | float) for name, value in node.kwargs.items())
        if len(node.args) != 2 or odd or not any(lefts):
            return self._opaque(node)
        rank, shape = self._rank(node), node.meta["shape"]
        axes = {left.axis + rank - self._rank(x) for x, left in zip(operands, lefts, strict=True) if left}
        axis = axes.pop()
        n = shape[axis]
        if axes or any(left and len(left.kept) != n for left in lefts):
            return self._opaque(node)
        parts = [self._part(x, axis - rank, n) for x in operands]
        kept = parts[0].kept | parts[1].kept
        nothing = torch.zeros(n, dtype=torch.bool)
        matter = [torch.ones(n, dtype=torch.bool) for _ in parts]  # but where the other one makes it zero
        for i in zero:
            nothing |= ~parts[i].kept & (parts[i].fill == 0)
            matter[1 - i] = parts[i].kept | (parts[i].fill != 0)
        kept = _some(kept & ~nothing, torch.ones_like(kept))
        first, second = (part.fill for part in parts)
        by = node.target if not isinstance(node.target, str) else getattr(torch, node.target.rstrip("_"))
        fill = torch.where(nothing, _nothing(n), by(first.clone(), second, **node.kwargs))
        kept |= ~fill.isfinite()  # a number divided by nothing
        fill = torch.where(kept, _nothing(n), fill)
        if by in (torch.add, operator.add, operator.iadd) and not node.kwargs:
            added = self._added(node, operands, parts, axis, kept)
            if added is not None:
                return added, Left(axis, kept, fill)
        given = {x: self._part_at(x, part, axis - rank, kept, each)
                 for x, part, each in zip(operands, parts, matter, strict=True) if isinstance(x, fx.Node)}  # fmt: skip
        return self._copy(node, given), Left(axis, kept, fill)

    def _part(self, x, axis: int, n: int) -> Left:
        """An operand along an axis counted from behind: where it varies, and its constants elsewhere."""
        left = self._one(x)
        everywhere, nowhere = torch.ones(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
        if left is not None:
            return left
        if not isinstance(x, fx.Node) or not isinstance(x.meta["shape"], torch.Size):
            number = x if isinstance(x, int | float) else self.small[x] if isinstance(x, fx.Node) else None
            if isinstance(number, int | float):
                return Left(axis, nowhere, torch.full((n,), number, dtype=torch.float64))
            return Left(axis, everywhere, _nothing(n))
        shape = x.meta["shape"]
        if x.op == "get_attr" and all(size == 1 for i, size in enumerate(shape) if i - len(shape) != axis):
            value = operations.attribute(self.traced, x.target).detach().cpu().double().flatten()
            return Left(axis, nowhere, value.expand(n))
        return Left(axis, everywhere, _nothing(n))

    def _part_at(self, x: fx.Node, part: Left, axis: int, kept: Tensor, matter: Tensor):
        """The operand's entries `kept` along an axis counted from behind; as it is where it has one for all. `matter`
        as of Smaller, where it is a constant of the network's own."""
        if self._one(x) is not None:
            return self._take(x, self.small[x], part, kept)
        shape, n = x.meta["shape"], len(kept)
        small = self._whole(x)
        if not isinstance(shape, torch.Size) or len(shape) < -axis or shape[axis] != n or kept.all():
            return small
        dim = len(shape) + axis
        if x.op == "get_attr":
            return self._constant_at(x, dim, kept, matter)
        return self._take(x, small, Left(dim, torch.ones_like(kept), _nothing(n)), kept)

    def _added(self, node: fx.Node, operands: tuple, parts: list[Left], axis: int, kept: Tensor):
        """Two values that lack zeros, where one has all entries of the sum: the other is added to those it has."""
        if not all(isinstance(x, fx.Node) for x in operands) or operands[0].meta["shape"] != operands[1].meta["shape"]:
            return None
        if any((part.fill[~part.kept] != 0).any() for part in parts) or torch.equal(parts[0].kept, parts[1].kept):
            return None
        wide = 0 if int(parts[0].kept.sum()) >= int(parts[1].kept.sum()) else 1
        narrow = 1 - wide
        base = self._part_at(operands[wide], parts[wide], axis - self._rank(node), kept, torch.ones_like(kept))
        rows = self._tensor(f"{node.name}_rows", parts[narrow].kept[kept].nonzero()[:, 0])
        added = self.graph.call_method("type_as", (self.small[operands[narrow]], base))  # autocast may tell them apart
        return self._call(torch.index_add, base, axis, rows, added)

    def _cat(self, node: fx.Node):
        sources = node.args[0]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        lefts = [self._one(source) for source in sources]
        axes = {left.axis for left in lefts if left}
        if len(axes) != 1 or not isinstance(dim, int):
            return self._opaque(node)
        axis, dim = axes.pop(), dim % self._rank(node)
        values = [self._along(source, axis) for source in sources]
        if dim == axis:
            kept, fill = torch.cat([left.kept for _, left in values]), torch.cat([left.fill for _, left in values])
            left = Left(axis, kept, fill)
            smalls = [small for small, _ in values]
        else:
            kept, fills = torch.stack([left.kept for _, left in values]), torch.stack([left.fill for _, left in values])
            left = Left(axis, kept.any(0) | (fills != fills[0]).any(0), fills[0])
            smalls = [self._take(n, small, l_, left.kept) for n, (small, l_) in zip(sources, values, strict=True)]
        return self._copy(node, args=([*smalls], *node.args[1:])), left

    def _split(self, node: fx.Node):
        source, left = node.args[0], self._one(node.args[0])
        pieces = node.meta["shape"]
        unbound = "unbind" in (node.target, getattr(node.target, "__name__", ""))
        dim = node.kwargs.get("dim", node.args[1 if unbound else 2] if len(node.args) > (1 if unbound else 2) else 0)
        if left is None or not isinstance(dim, int):
            return self._opaque(node)
        dim %= self._rank(source)
        if dim != left.axis:
            axis = left.axis - (unbound and dim < left.axis)
            return self._copy(node), tuple(Left(axis, left.kept, left.fill) for _ in pieces)
        if unbound:
            return self._opaque(node)
        sizes = [piece[dim] for piece in pieces]
        kept = torch.cat([_some(part, torch.ones_like(part)) for part in left.kept.split(sizes)])
        small = self._take(source, self.small[source], left, kept)
        parts = kept.split(sizes)
        split = self._call(torch.split, small, [int(part.sum()) for part in parts], dim)
        return split, tuple(Left(dim, k, f) for k, f in zip(parts, left.fill.split(sizes), strict=True))

    def _pick(self, node: fx.Node):
        source, at = node.args
        if isinstance(self.left[source], tuple) and isinstance(at, int):
            return self._copy(node, {source: self.small[source]}), self.left[source][at]
        if isinstance(self.small[source], list):
            return self._one_size(source, at), None
        left = self._one(source)
        index = at if isinstance(at, tuple) else (at,)
        static = all(i is None or i is Ellipsis or isinstance(i, int) or _static(i) for i in index)
        if left is None or not static:
            return self._opaque(node)
        if Ellipsis in index:
            where = index.index(Ellipsis)
            missing = self._rank(source) - sum(i is not None and i is not Ellipsis for i in index)
            index = (*index[:where], *[slice(None)] * missing, *index[where + 1 :])
        dim, axis, kept = 0, left.axis, left.kept
        for place, i in enumerate(index):
            if i is None:
                axis += dim <= left.axis
                continue
            if dim == left.axis and isinstance(i, int):
                return self._opaque(node)
            if dim == left.axis and i != slice(None):
                inside = torch.zeros_like(kept)
                inside[i] = True
                if i.step not in (None, 1):
                    return self._opaque(node)
                small = self._take(source, self.small[source], left, _some(kept & inside, inside))
                index = (*index[:place], slice(None), *index[place + 1 :])
                picked = self._call(operator.getitem, small, index)
                return picked, Left(axis, _some(kept & inside, inside)[inside], left.fill[inside])
            axis -= isinstance(i, int) and dim < left.axis
            dim += 1
        return self._copy(node), Left(axis, left.kept, left.fill)

    def _pad(self, node: fx.Node):
        given = inspect.signature(lambda input, pad, mode="constant", value=None: None).bind(*node.args, **node.kwargs)
        source, pad = given.arguments["input"], given.arguments["pad"]
        left = self._one(source)
        if left is None or not isinstance(pad, tuple | list) or left.axis >= self._rank(source) - len(pad) // 2:
            return self._opaque(node)
        if given.arguments.get("mode", "constant") != "constant":
            return self._copy(node), left
        value = given.arguments.get("value") or 0
        kept = left.kept | (left.fill != value)
        small = self._take(source, self.small[source], left, kept)
        return self._copy(node, {source: small}), Left(left.axis, kept, left.fill)

    def _shuffle(self, node: fx.Node):
        module, left = self._module(node), self._one(node.args[0])
        groups = module.groups if module else node.args[1] if len(node.args) > 1 else node.kwargs["groups"]
        if left is None or left.axis != 1:
            return self._opaque(node)
        order = torch.arange(len(left.kept)).view(groups, -1).T.flatten()
        kept, fill = left.kept[order], left.fill[order]
        index = self._tensor(f"{node.name}_places", (left.kept.cumsum(0) - 1)[order][kept])
        return self._call(torch.index_select, self.small[node.args[0]], 1, index), Left(1, kept, fill)

    def _size(self, node: fx.Node):
        source = node.args[0]
        left = self.left[source]
        if not isinstance(left, Left) or node.target in ("dim",) or node.args[1:] in (("dtype",), ("device",)):
            if isinstance(self.small[source], list):  # len(x.shape)
                return len(self.small[source]), None
            split = isinstance(left, Left) and left.kept.dim() > 1
            return self._opaque(node) if split else (self._copy(node), None)
        if left.kept.dim() > 1 or node.target not in ("size", getattr) or node.args[1:] == ("ndim",):
            return self._opaque(node)
        dim = node.args[1] if node.target == "size" and len(node.args) > 1 else node.kwargs.get("dim")
        if isinstance(dim, int):
            if dim % self._rank(source) != left.axis:
                return self._copy(node), None
            self.flow.plain = False
            return len(left.kept), None
        small = self.small[source]
        sizes = [self.graph.call_method("size", (small, i)) for i in range(self._rank(source))]
        sizes[left.axis] = len(left.kept)
        return sizes, None

    def _one_size(self, source: fx.Node, at: int | slice):
        """The size of an axis, or of several, of a value that has fewer entries now; the network's own sizes count."""
        tensor = source.args[0]
        if not isinstance(at, int) or at % self._rank(tensor) == self.left[tensor].axis:
            self.flow.plain = False
        return self.small[source][at]

    def _number(self, node: fx.Node):
        if node.target is operator.getitem and isinstance(self.small[node.args[0]], list):
            return self._one_size(node.args[0], node.args[1]), None
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self.small[n])
        if all(isinstance(a, int | float) for a in args) and not kwargs:
            return node.target(*args), None
        return self._copy(node), None


def _nothing(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.float64)


def _some(mask: Tensor, among: Tensor) -> Tensor:
    """The mask, or where it is empty the first of `among`: a value of no width is none that torch can compute with."""
    if mask.any() or not among.any():
        return mask
    mask = mask.clone()
    mask[among.nonzero()[0]] = True
    return mask


def _some_of(mask: Tensor, live: Tensor) -> Tensor:
    """A mask (groups, members) with at least one in each live group."""
    mask = mask.clone()
    mask[live & ~mask.any(1), 0] = True
    return mask


def _static(index) -> bool:
    parts = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
    return isinstance(index, slice) and all(part is None or isinstance(part, int) for part in parts)


def _borderless(module: nn.Module) -> bool:
    """Whether no window of a convolution reaches into zeros beyond the border."""
    if module.padding_mode != "zeros" or module.padding == "valid":
        return True
    return not isinstance(module.padding, str) and not any(module.padding)


def _normalised(fill: Tensor, mean, var, weight, bias, eps: float) -> Tensor:
    """What batch normalisation makes of constants (n,), in eval mode; with a batch's own statistics, its shift."""
    weight, bias = (t.detach().cpu().double() if t is not None else t for t in (weight, bias))
    if mean is None:
        return torch.zeros_like(fill) if bias is None else bias.clone()
    fill = (fill - mean.cpu().double()) / (var.cpu().double() + eps).sqrt()
    fill = fill if weight is None else fill * weight
    return fill if bias is None else fill + bias


def _regrouped(before: list[int], after: list[int], left: Left) -> Left | None:
    """What is left of a value of one shape in another; None where it is not whole entries of one axis any more."""
    inner = left.kept.dim()
    for start_in, stop_in, start_out, stop_out in _groups(before, after):
        if not start_in <= left.axis < stop_in:
            continue
        if left.axis + inner > stop_in:
            return None
        sizes, out = before[start_in:stop_in], after[start_out:stop_out]
        if len(sizes) > 1 and any(size % tracing.BATCH == 0 for size in sizes if size):
            return None  # all samples' neurons along one axis: how many, the batch says
        if sizes == out and inner == 1:
            return Left(start_out + left.axis - start_in, left.kept, left.fill)
        place = [1] * (left.axis - start_in) + list(left.kept.shape) + [1] * (stop_in - left.axis - inner)
        kept = left.kept.reshape(place).expand(sizes).reshape(out)
        fill = left.fill.reshape(place).expand(sizes).reshape(out)
        for i in range(len(out)):
            others = [j for j in range(len(out)) if j != i]
            one = kept.any(others) if others else kept
            shape = [-1 if j == i else 1 for j in range(len(out))]
            if torch.equal(one.view(shape).expand_as(kept), kept):
                value = fill.amax(others) if others else fill
                if bool(((fill == value.view(shape)) | kept).all()) and (inner == 1 or len(out) == 1):
                    return Left(start_out + i, one, value)
        if stop_in - start_in == 1 and inner == 1:  # split into several: go on with it as it was
            return Left(start_out, kept, fill)
        return None
    return None


def _groups(before: list[int], after: list[int]) -> list[tuple[int, int, int, int]]:
    """The runs of axes of two shapes that hold the same elements: [(start, stop, start, stop)], first to last."""
    found, i, j = [], 0, 0
    while i < len(before) and j < len(after):
        start_i, start_j = i, j
        i, j = i + 1, j + 1
        while math.prod(before[start_i:i]) != math.prod(after[start_j:j]):
            if math.prod(before[start_i:i]) < math.prod(after[start_j:j]):
                i += 1
            else:
                j += 1
        found.append((start_i, i, start_j, j))
    # Axes of one entry at the end belong to the last run.
    if found:
        first = found[-1]
        found[-1] = (first[0], len(before), first[2], len(after))
    return found
