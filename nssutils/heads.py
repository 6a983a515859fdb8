"""Attention heads as neurons: which of a transformer's heads are critical, and the network without the others.

A head mixes the values of its tokens by itself; what it puts out is read and masked before the output projection adds
the heads up. Beyond the paper, whose neurons are units and channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nssutils import graphs, neurons, operations, restructuring
from nssutils.errors import NssError


class HeadError(NssError):
    """A network whose attention has no heads that can be opened."""


class Attention(nn.Module):
    """Scaled dot-product attention of several heads, computed as by the module it stands for.

    `heads` passes on what each head puts out, (N, heads, tokens, width of a head), unchanged: a convolution whose
    channels are the heads, so that they are a layer of neurons as any other. It has no parameters.
    """

    # nn.TransformerEncoderLayer has a faster way of its own round its attention, for one that has these.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(
        self, query: nn.Linear, key: nn.Linear, value: nn.Linear, output: nn.Linear, n: int, dropout: float,
        batch_first: bool, paired: bool,
    ):  # fmt: skip
        """n: heads; paired: whether forward() gives (output, None), as nn.MultiheadAttention does without weights."""
        super().__init__()
        self.query, self.key, self.value, self.output = query, key, value, output
        self.width = query.out_features // n  # of a head: how many there are, the weights tell
        self.dropout, self.batch_first, self.paired = dropout, batch_first, paired
        self.heads = nn.Conv2d(n, n, 1, groups=n, bias=False)
        del self.heads.weight
        weight = output.weight
        self.heads.register_buffer("weight", torch.ones(n, 1, 1, 1, device=weight.device, dtype=weight.dtype))

    def forward(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, key_padding_mask=None,
        need_weights: bool = False, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ):  # fmt: skip
        """Tokens (N, tokens, width), or tokens first; the key is the query's and the value the key's unless given."""
        if key_padding_mask is not None or (attn_mask is not None and attn_mask.dim() > 2):
            raise HeadError("the attention is given a mask for each sample, expected none, or one of (tokens, tokens).")
        key = query if key is None else key
        given = [query, key, key if value is None else value]
        if not self.batch_first:
            given = [tokens.transpose(0, 1) for tokens in given]
        projections = zip((self.query, self.key, self.value), given, strict=True)
        q, k, v = (one(tokens).unflatten(-1, (-1, self.width)).transpose(1, 2) for one, tokens in projections)
        if attn_mask is not None and attn_mask.dtype == torch.bool and self.paired:
            attn_mask = ~attn_mask  # nn.MultiheadAttention's says what is hidden, the function's what is seen
        dropout = self.dropout if self.training else 0.0
        each = self.heads(F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, dropout_p=dropout))
        out = self.output(each.transpose(1, 2).flatten(2))
        out = out if self.batch_first else out.transpose(0, 1)
        return (out, None) if self.paired else out

    def keep(self, mask: Tensor) -> None:
        """Leave only the heads of mask, bool (heads,): their rows of the projections, their columns of the output's."""
        rows = mask.repeat_interleave(self.width)
        for name in ("query", "key", "value"):
            setattr(self, name, _part(getattr(self, name), rows=rows))
        self.output = _part(self.output, columns=rows)
        self.heads = nn.Identity()


def opened(net: nn.Module, x: Tensor) -> nn.Module:
    """A copy of the network, in eval mode, whose heads are hidden layers: `NAME.heads`, a neuron a head.

    x: an example, a batch of any size, on which both must agree. Opened are nn.MultiheadAttention and modules made of
    `qkv`, `proj` and `num_heads`, as timm's and most vision transformers'. Score and slice the copy as any network; in
    the similarity a head is one number, its mean, unless spatial="flatten" takes all that it puts out. A slice's
    compression rate counts what reads the heads; `extract` drops their queries, keys and values, too.
    Raises HeadError where there is nothing to open, or the copy gives other outputs.
    """
    net = graphs.unwrapped(net)
    copied = graphs.copied(net)
    found = {name: new for name, module in copied.named_modules() if (new := _opened(module))}
    if not found:
        kinds = sorted({type(m).__name__ for m in net.modules() if "attention" in type(m).__name__.lower()})
        raise HeadError(
            f"{type(net).__name__} has no attention that can be opened ({', '.join(kinds) or 'none at all'}), expected "
            "nn.MultiheadAttention without extra keys, or a module of just qkv, proj and num_heads."
        )
    graphs.put(copied, found)
    copied.eval()
    if apart := _apart(net, copied, x):
        raise HeadError(f"opened, {type(net).__name__} gives other outputs: {apart}.")
    return copied


def extract(net: nn.Module, masks, x: Tensor, fold: bool = False) -> nn.Module:
    """`restructuring.extract` for an opened network: the dropped heads' queries, keys and values go as well.

    x: an example, a batch of any size, on which the small network and the masked one must agree. Raises
    RestructuringError where an attention or layer keeps nothing, or the two differ.
    """
    masks = neurons.of_each_layer(masks)
    neurons.check_masks(neurons.layers(net, x), masks)
    small = graphs.copied(net).eval()
    others = dict(masks)
    for name, module in small.named_modules():
        if isinstance(module, Attention):
            mask = others.pop(f"{name}.heads", torch.ones(module.heads.out_channels, dtype=torch.bool))
            if not mask.any():
                raise restructuring.RestructuringError(f"{name!r} keeps no head, expected at least one.")
            module.keep(mask)
    small = restructuring.extract(small, others, fold, x) if others or fold else small
    with neurons.masked(net, masks):
        if apart := _apart(net, small, x):
            raise restructuring.RestructuringError(f"the small network gives other outputs than the masked: {apart}.")
    return small


@torch.no_grad()
def _apart(net: nn.Module, other: nn.Module, x: Tensor) -> str:
    """By how much two networks' outputs differ, if they do."""
    x = x[:2].to(operations.device(net))
    with neurons.evaluating(net):
        wanted = net(x.clone())
        try:
            given = other(x.clone())
        except Exception as error:  # as a forward() that goes on with the weights of its attention
            return f"it fails with {type(error).__name__}: {error}"
    return graphs.differ(wanted, given)


def _opened(module: nn.Module) -> Attention | None:
    """What stands for a module, if it is an attention whose heads can be told apart."""
    if isinstance(module, nn.MultiheadAttention):
        if module.bias_k is not None or module.add_zero_attn or operations.hooked(module):
            return None
        weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
        weights = module.in_proj_weight.chunk(3) if module._qkv_same_embed_dim else weights
        biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
        parts = [_linear(w, b) for w, b in zip(weights, biases, strict=True)]
        return Attention(*parts, module.out_proj, module.num_heads, module.dropout, module.batch_first, True)
    parts = dict(module.named_children())
    qkv, proj = parts.pop("qkv", None), parts.pop("proj", None)
    drops = [part for part in parts.values() if isinstance(part, nn.Dropout)]
    plain = all(isinstance(part, nn.Dropout | nn.Identity) for part in parts.values())
    known = isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear) and hasattr(module, "num_heads")
    if not known or not plain or any(True for _ in module.parameters(recurse=False)) or operations.hooked(module):
        return None
    if any(drop.p for drop in drops):
        return None  # where in the module they act, it alone knows
    biases = (None,) * 3 if qkv.bias is None else qkv.bias.chunk(3)
    parts = [_linear(w, b) for w, b in zip(qkv.weight.chunk(3), biases, strict=True)]
    return Attention(*parts, proj, module.num_heads, 0.0, True, False)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    new = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias is not None)
    new.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    return new


def _part(linear: nn.Linear, rows: Tensor | None = None, columns: Tensor | None = None) -> nn.Linear:
    """The Linear with only these outputs or inputs."""
    weight, bias = linear.weight, linear.bias
    if rows is not None:
        weight, bias = weight[rows.to(weight.device)], None if bias is None else bias[rows.to(weight.device)]
    if columns is not None:
        weight = weight[:, columns.to(weight.device)]
    return _linear(weight, bias)
