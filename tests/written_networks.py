"""Networks as people write them: what stands between their layers is what slicing must get past."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange
from torch import fx, nn
from torch.utils.checkpoint import checkpoint

IMAGE = (3, 8, 8)


class Written(nn.Module):
    """A network of named parts and a function of it and its input."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.way = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.way(self, x)


class BatchNormAct(nn.BatchNorm2d):
    """A subclass that does more than its parent, as in timm."""

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps)
        return F.silu(x)


class Block(nn.Module):
    """A transformer's block, with a class token's kind of attention by hand, layer scale and an MLP."""

    def __init__(self, width, heads=2, hidden=24):
        super().__init__()
        self.norm1, self.norm2, self.heads = nn.LayerNorm(width), nn.LayerNorm(width), heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.rand(width))

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q @ k.transpose(-2, -1) * (C // self.heads) ** -0.5).softmax(dim=-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(B, N, C))
        return x + self.gamma * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 12, 4, 4), nn.Parameter(torch.rand(1, 1, 12))
        self.places, self.blocks = nn.Parameter(torch.rand(1, 5, 12)), nn.Sequential(Block(12), Block(12))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x):
        if x.shape[-1] != 8:
            raise ValueError(f"images of 8 pixels expected, {x.shape[-1]} given")
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class RearrangedBlock(Block):
    """The same with einops, its functions and its layers."""

    def forward(self, x):
        qkv = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (rearrange(each, "b n (h d) -> b h n d", h=self.heads) for each in qkv)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        x = x + self.proj(rearrange(weights @ v, "b h n d -> b n (h d)"))
        return x + self.gamma * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class RearrangedViT(nn.Module):
    def __init__(self):
        super().__init__()
        patches = Rearrange("b c (h p) (w q) -> b (h w) (p q c)", p=4, q=4)
        self.patch, self.token = nn.Sequential(patches, nn.Linear(48, 12)), nn.Parameter(torch.rand(1, 1, 12))
        self.blocks, self.norm = nn.Sequential(RearrangedBlock(12), RearrangedBlock(12)), nn.LayerNorm(12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = self.patch(x)
        x = torch.cat([repeat(self.token, "1 1 d -> b 1 d", b=x.shape[0]), x], 1)
        return self.head(reduce(self.norm(self.blocks(x)), "b n d -> b d", "mean"))


class TwoIn(nn.Module):
    """A network of two inputs and two outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 6), nn.Linear(3, 5), nn.Linear(11, 4)

    def forward(self, first, second):
        x = torch.cat([self.a(first).relu(), self.b(second).tanh()], 1)
        return {"features": x, "logits": self.head(x)}


class Swiglu(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.fc1, self.fc2, self.head = nn.Linear(6, 8), nn.Linear(8, 20), nn.Linear(10, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.a(x).relu()
        gate, value = self.fc1(x).chunk(2, dim=-1)
        return self.head(x + self.fc2(F.silu(gate) * value))


def shuffled(net, x):
    x = net.a(x).relu()
    n, c, h, w = x.size()
    x = x.view(n, 4, c // 4, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
    return net.head(net.b(x).relu().mean((2, 3)))


def looking_back(net, x):
    """Attentions of tokens that see none after them."""
    y = net.a(x).relu()
    hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)
    y = y + F.scaled_dot_product_attention(*net.qkv(y).chunk(3, -1), attn_mask=~hidden)
    y = y + F.scaled_dot_product_attention(*net.qkv(y).chunk(3, -1), is_causal=True, scale=0.3)
    y = y + net.at(y, y, y, attn_mask=hidden, need_weights=False)[0]
    scores = (y @ net.other(y).transpose(1, 2)).masked_fill(hidden, -torch.inf)
    return net.head((torch.where(hidden, -1e9, scores).softmax(-1) @ y).flatten(1))


@fx.wrap
def taken_whole(y, gain, *, shift):
    """One operation of the graph."""
    return (y.tanh() * gain + y.amax(1, keepdim=True) if y.shape[-1] == 8 else y) + shift


def asserted(net, x):
    torch._assert(x.shape[1] == 3, "three channels")
    assert x.dim() == 4, x.shape
    return net.head(net.a(x).relu().flatten(1))


def shifted_in_time(net, x):
    y = net.a(x).relu()
    z = torch.zeros_like(y)
    z[:, :3] = y[:, 3:]
    z[:, 3:, 1:] = y[:, :3, :-1]
    return net.head(net.b(z).relu().mean((2, 3)))


def frozen_part(net, x):
    with torch.no_grad():
        y = net.a(x).relu()
    return net.head(torch.cat([net.b(y).relu(), y[:, :3]], 1))


class Squashed(torch.autograd.Function):
    """x sigmoid(x), as written to save memory."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (s := x.sigmoid()) * (1 + x * (1 - s))


def conv(i, o, k=3, **more):
    return nn.Conv2d(i, o, k, padding=k // 2, **more)


def normed(tokens=False):
    """A Sequential of convolutions and GroupNorm, or of Linear on tokens."""
    if tokens:
        return nn.Sequential(
            nn.Linear(5, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 6), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)
        )
    return nn.Sequential(
        conv(3, 8), nn.GroupNorm(2, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), nn.GroupNorm(3, 6), conv(6, 4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def head(width, out=4):
    return nn.Linear(width, out)


# {name: (network, shape of a sample)}
def by_names(net, x):
    y = torch.cat(tensors=[net.act(input=net.a(input=x)), F.relu(input=net.b(x))], axis=1)
    y = torch.permute(input=net.norm(input=y), dims=(0, 2, 3, 1)).permute(dims=(0, 3, 1, 2))
    first, last = torch.chunk(input=F.max_pool2d(input=y, kernel_size=2), chunks=2, dim=1)
    y = torch.mul(input=torch.add(input=first, other=last), other=torch.sigmoid(input=last))
    y = y.reshape(shape=(-1, 6, 16)).to(dtype=x.dtype)
    return net.head(torch.flatten(input=y, start_dim=1) + torch.mean(input=y, dim=(1, 2), keepdims=True).flatten(1))


NETWORKS = {
    "dense: concatenation, then BN": lambda: (Written(
        lambda n, x: n.head(n.norm2(torch.cat([x := n.norm(n.a(x)).relu(), n.b(x)], 1)).relu().mean((2, 3))),
        a=conv(3, 6), norm=nn.BatchNorm2d(6), b=conv(6, 5), norm2=nn.BatchNorm2d(11), head=head(11)), IMAGE),
    "pool, then BN": lambda: (nn.Sequential(
        conv(3, 6), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(6), conv(6, 5), nn.ReLU(), nn.Flatten(),
        head(80)), IMAGE),
    "flattened, then BN": lambda: (nn.Sequential(
        conv(3, 6), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.BatchNorm1d(24), head(24)), IMAGE),
    "addition, then BN": lambda: (Written(
        lambda n, x: n.head(n.norm((y := n.a(x).relu()) + n.b(y)).relu().mean((2, 3))),
        a=conv(3, 6), b=conv(6, 6), norm=nn.BatchNorm2d(6), head=head(6)), IMAGE),
    "LeNet: sigmoid behind a pool": lambda: (nn.Sequential(
        conv(3, 6), nn.AvgPool2d(2), nn.Sigmoid(), conv(6, 5), nn.Sigmoid(), nn.Flatten(), head(80)), IMAGE),
    "a number added": lambda: (Written(
        lambda n, x: n.head(n.b(n.a(x).relu() + 1).relu()), a=nn.Linear(5, 8), b=nn.Linear(8, 6), head=head(6)), (5,)),
    "a number subtracted from": lambda: (Written(
        lambda n, x: n.head(1 - n.a(x).relu() / 2), a=nn.Linear(5, 8), head=head(8)), (5,)),
    "alpha": lambda: (Written(
        lambda n, x: n.head(torch.add(n.a(x).relu(), n.b(x).tanh(), alpha=0.5)),
        a=nn.Linear(5, 8), b=nn.Linear(5, 8), head=head(8)), (5,)),
    "as many tokens as units": lambda: (nn.Sequential(
        nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Flatten(), head(36)), (6, 5)),
    "tokens, then a BN over them": lambda: (nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Flatten(), head(28)), (7, 5)),
    "BN with the batch's statistics": lambda: (nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU(), conv(6, 4), nn.ReLU(), nn.Flatten(),
        head(256)), IMAGE),
    "sizes by hand": lambda: (Written(
        lambda n, x: n.head(F.relu(n.fc(F.max_pool2d(F.relu(n.a(x)), 4).view(-1, 16 * 2 * 2)))),
        a=conv(3, 16), fc=nn.Linear(64, 7), head=head(7)), IMAGE),
    "sizes asked for": lambda: (Written(
        lambda n, x: n.head((y := n.a(x).relu()).view(y.size(0), y.size(1) * y.size(2) * y.shape[3])),
        a=conv(3, 5), head=head(320)), IMAGE),
    "concatenation along space": lambda: (Written(
        lambda n, x: n.head(torch.cat([n.a(x).relu(), n.b(x).sigmoid()], 2).flatten(1)),
        a=conv(3, 4), b=conv(3, 4), head=head(512)), IMAGE),
    "regrouped": lambda: (Written(
        lambda n, x: n.head(n.a(x).relu().view(-1, 4, 128).mean(2)), a=conv(3, 8), head=head(4)), IMAGE),
    "broadcast addition": lambda: (Written(
        lambda n, x: n.head((n.a(x).relu() + n.b(x).mean(1, keepdim=True)).mean((2, 3))),
        a=conv(3, 6), b=conv(3, 5), head=head(6)), IMAGE),
    "squeeze and excite": lambda: (Written(
        lambda n, x: n.head(
            ((y := n.norm(n.a(x)).relu()) * n.up(n.down(y.mean((2, 3), True)).relu()).sigmoid()).flatten(1)),
        a=conv(3, 8), norm=nn.BatchNorm2d(8), down=nn.Conv2d(8, 4, 1), up=nn.Conv2d(4, 8, 1), head=head(512)), IMAGE),
    "depthwise": lambda: (nn.Sequential(
        conv(3, 8), nn.BatchNorm2d(8), nn.ReLU6(), conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), conv(6, 12, groups=3), nn.Hardswish(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), head(12)), IMAGE),
    "channel shuffle": lambda: (Written(
        shuffled, a=conv(3, 8), b=conv(8, 8, groups=4), head=head(8)), IMAGE),
    "shuffle as a module": lambda: (nn.Sequential(
        conv(3, 8), nn.ReLU(), nn.ChannelShuffle(2), conv(8, 4), nn.ReLU(), nn.Flatten(), head(256)), IMAGE),
    "GroupNorm": lambda: (normed(), IMAGE),
    "LayerNorm on tokens": lambda: (normed(tokens=True), (4, 5)),
    "two inputs in one, one of two outputs": lambda: (Written(
        lambda net, x: net.inner(x[:, :4], x[:, 4:])["logits"], inner=TwoIn()), (7,)),
    "gated halves": lambda: (Swiglu(), (6,)),
    "a vision transformer": lambda: (ViT(), IMAGE),
    "a vision transformer by einops": lambda: (RearrangedViT(), IMAGE),
    "torch's transformer": lambda: (Written(
        lambda n, x: n.head(n.encoder(n.embed(x)).mean(1)), embed=nn.Linear(5, 8), head=head(8),
        encoder=nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)), (6, 5)),
    "a mixer": lambda: (Written(
        lambda n, x: n.head((x + n.b(F.gelu(n.a(n.norm(x).transpose(1, 2)))).transpose(1, 2)).mean(1)),
        norm=nn.LayerNorm(5), a=nn.Linear(6, 10), b=nn.Linear(10, 6), head=head(5)), (6, 5)),
    "one dimension": lambda: (nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ELU(), nn.MaxPool1d(2), nn.Conv1d(6, 5, 3), nn.GELU(),
        nn.AdaptiveAvgPool1d(2), nn.Flatten(), head(10)), (2, 16)),
    "three dimensions": lambda: (nn.Sequential(
        nn.Conv3d(2, 6, 3), nn.BatchNorm3d(6), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        head(6)), (2, 5, 5, 5)),
    "weight norm": lambda: (nn.Sequential(
        nn.utils.parametrizations.weight_norm(conv(3, 6)), nn.ReLU(), conv(6, 4), nn.ReLU(), nn.Flatten(), head(256)),
        IMAGE),
    "PReLU, padding, upsampling": lambda: (Written(
        lambda n, x: n.head(n.up(F.pad(n.act(n.a(x)), (1, 1, 1, 1))).mean((2, 3)).unsqueeze(1).squeeze(1)),
        a=conv(3, 6), act=nn.PReLU(6), up=nn.Upsample(scale_factor=2, mode="bilinear"), head=head(6)), IMAGE),
    "normalised first, log-softmax last": lambda: (Written(
        lambda n, x: F.log_softmax(n.head(n.a((x * 255 - 128) / 64).relu().flatten(1)), dim=1),
        a=conv(3, 5), head=head(320)), IMAGE),
    "asserts on shapes": lambda: (Written(asserted, a=conv(3, 5), head=head(320)), IMAGE),
    "a subclass of BN with its activation": lambda: (nn.Sequential(
        conv(3, 6), BatchNormAct(6), conv(6, 5), BatchNormAct(5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        head(5)), IMAGE),
    "in place": lambda: (Written(
        lambda n, x: n.head(n.act((y := n.act(n.a(x))).add_(n.b(y))).mean((2, 3))),
        a=conv(3, 6), b=conv(6, 6), act=nn.ReLU(inplace=True), head=head(6)), IMAGE),
    "overwritten and read again": lambda: (Written(
        lambda n, x: n.head((F.relu_(y := n.a(x)) + y).mean((2, 3))), a=conv(3, 6), head=head(6)), IMAGE),
    "called twice": lambda: (Written(
        lambda n, x: n.head(n.b(n.b(n.a(x).relu()).relu()).relu()), a=nn.Linear(5, 6), b=nn.Linear(6, 6), head=head(6)),
        (5,)),
    "used by a function": lambda: (Written(
        lambda n, x: n.head(F.linear(n.a(x).relu(), n.w)), a=nn.Linear(5, 6), w=nn.Parameter(torch.rand(4, 6)),
        head=head(4)), (5,)),
    "something else": lambda: (Written(
        lambda n, x: n.head(n.a(x).relu().sort(1).values), a=nn.Linear(5, 6), head=head(6)), (5,)),
    "slices of channels": lambda: (Written(
        lambda n, x: n.head(torch.cat([(y := n.a(x).relu())[:, :3], n.b(y[:, 3:]).relu()], 1).mean((2, 3))),
        a=conv(3, 8), b=conv(5, 4), head=head(7)), IMAGE),
    "split in three": lambda: (Written(
        lambda n, x: n.head(
            torch.cat([p.relu() if i else p for i, p in enumerate(n.a(x).split([2, 3, 3], 1))], 1).amax((2, 3))),
        a=conv(3, 8), head=head(8)), IMAGE),
    "gated linear units": lambda: (Written(
        lambda n, x: n.head(torch.concatenate([F.glu(y := n.glu(n.a(x)), 1), F.glu(n.b(y), dim=-3)], axis=1)
                            .mean((2, 3))),
        a=conv(3, 12), glu=nn.GLU(1), b=conv(6, 8), head=head(7)), IMAGE),
    "a function taken whole": lambda: (Written(
        lambda n, x: n.head(n.b(taken_whole(n.a(x).relu(), n.gain, shift=n.gain.mean())).relu()), a=nn.Linear(5, 8),
        b=nn.Linear(8, 6), gain=nn.Parameter(torch.rand(8)), head=head(6)), (5,)),
    "weights read besides": lambda: (Written(
        lambda n, x: n.head(n.c(
            n.b((y := n.act(n.norm(n.a(x)))) + n.a.bias.mean() + n.norm.weight[0]).relu()
            + F.linear(y, n.b.weight.to(n.c.weight.dtype)) * n.act.weight.sum() / len(n.a.weight)).relu()),
        a=nn.Linear(5, 8), norm=nn.BatchNorm1d(8), act=nn.PReLU(8), b=nn.Linear(8, 6), c=nn.Linear(6, 7), head=head(7)),
        (5,)),
    "the largest and its place": lambda: (Written(
        lambda n, x: n.head(((y := n.a(x).relu()) * n.b(torch.cat(
            [y.max(1, keepdim=True)[0], torch.min(y.tanh(), dim=1, keepdim=True).values], 1)).sigmoid()).mean((2, 3))),
        a=conv(3, 6), b=conv(2, 1), head=head(6)), IMAGE),
    "lengths and spreads": lambda: (Written(
        lambda n, x: n.head(n.b(torch.cat([
            (y := n.a(x).relu()) * y.norm(p=2, dim=(2, 3), keepdim=True),
            y * torch.linalg.vector_norm(y, dim=1)[:, None],
            (y - y.mean(1, keepdim=True)) / (y.std(1, keepdim=True) + 0.1), y * torch.var(y, (2, 3), keepdim=True),
            y * y.var((-1, -2), correction=0)[..., None, None], y + y.std(dim=1, unbiased=False)[:, None]], 1)).relu()
            .mean((2, 3))),
        a=conv(3, 6), b=conv(36, 5), head=head(5)), IMAGE),
    "a forward() that is chosen": lambda: (Written(
        lambda n, x: n.head(n.b(n.chosen(n.a(x).relu())).relu().mean((2, 3))), a=conv(3, 6), chosen=Chosen(),
        b=conv(6, 8), head=head(8)), IMAGE),
    "a bias of places": lambda: (Written(
        lambda n, x: n.head((n.a(x).relu() + n.c(n.b(n.places).relu()).view(1, 6, 8, 8)).mean((2, 3))), a=conv(3, 6),
        b=nn.Linear(2, 8), c=nn.Linear(8, 6), places=nn.Parameter(torch.rand(64, 2)), head=head(6)), IMAGE),
    "tokens that look back": lambda: (Written(
        looking_back, a=nn.Linear(3, 8), qkv=nn.Linear(8, 24), at=nn.MultiheadAttention(8, 2, batch_first=True),
        other=nn.Linear(8, 8), head=head(32)), (4, 3)),
    "other words for it": lambda: (Written(
        lambda n, x: n.head(torch.cat([
            torch.addmm(n.c, y := n.a(x).clip(-1, 2), n.w).absolute(), torch.lerp(y, n.c, 0.3).multiply(n.c),
            y.addcmul(y, n.c, value=0.5).divide(2), torch.addcdiv(n.c, y, n.c.exp()).clamp_(0, 1),
            y.max(n.c).min(other=n.c + 1), y.mm(n.w).subtract(n.c).atan(), torch.rsub(y, n.c, alpha=2).negative(),
            n.softmin(y.swapdims(0, 1).moveaxis(1, 0))], 1).relu()),
        a=nn.Linear(5, 6), c=nn.Parameter(torch.rand(6)), w=nn.Parameter(torch.rand(6, 6)), softmin=nn.Softmin(1),
        head=head(48)), (5,)),
    "padded and in step": lambda: (nn.Sequential(
        nn.ReflectionPad1d(2), nn.Conv1d(2, 6, 3), nn.SyncBatchNorm(6), nn.RReLU(), nn.CircularPad1d(1),
        nn.Conv1d(6, 5, 3), nn.FeatureAlphaDropout(0.2), nn.ELU(), nn.ConstantPad1d((0, 2), 0.5), nn.Conv1d(5, 4, 3),
        nn.ReLU(), nn.ReplicationPad1d(1), nn.AdaptiveAvgPool1d(2), nn.Flatten(), head(8)), (2, 16)),
    "softmax over channels": lambda: (nn.Sequential(
        conv(3, 6), nn.Softmax2d(), nn.ZeroPad2d(1), conv(6, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        head(5)), IMAGE),
    "the larger of two": lambda: (Written(
        lambda n, x: n.head(torch.maximum(n.a(x), n.b(x)).minimum(n.bound).mean((2, 3))),
        a=conv(3, 8), b=conv(3, 8), bound=nn.Parameter(torch.rand(8, 1, 1)), head=head(8)), IMAGE),
    "pieces put together again": lambda: (Written(
        lambda n, x: n.head(torch.cat(n.b(torch.cat(n.a(x).relu().chunk(2, 1)[::-1], 1)).relu().split(2, 1)[1:], 1)
                            .mean((2, 3))),
        a=conv(3, 8), b=conv(8, 6), head=head(4)), IMAGE),
    "pieces in a stack": lambda: (Written(
        lambda n, x: n.head((lambda a, b: torch.stack((a + b).split(2, 1), 1).amax(1))(*n.a(x).relu().chunk(2, 1)[:2])
                            .mean((2, 3))),
        a=conv(3, 8), head=head(2)), IMAGE),
    "pooled over its units": lambda: (Written(
        lambda n, x: n.head(F.max_pool1d(n.a(x).relu(), 2)), a=nn.Linear(5, 8), head=head(4)), (5,)),
    "a number divided by": lambda: (Written(
        lambda n, x: n.head(1 / (n.a(x).relu() + 0.5)), a=nn.Linear(5, 8), head=head(8)), (5,)),
    "cut to whole numbers": lambda: (Written(
        lambda n, x: n.head((n.a(x).sigmoid() * 9 + 1).to(torch.int32).to(torch.float64)),
        a=nn.Linear(5, 8), head=head(8)), (5,)),
    "in place, by position": lambda: (Written(
        lambda n, x: n.head((F.relu(y := n.a(x), True) + y).mean((2, 3))), a=conv(3, 6), head=head(6)), IMAGE),
    "asks what its input is": lambda: (Written(
        lambda n, x: n.head(n.a(x).relu()) if isinstance(x, torch.Tensor) else n.other(x[0]),
        a=nn.Linear(5, 8), head=head(8), other=head(5)), (5,)),
    "asks what a layer gives": lambda: (Written(
        lambda n, x: n.head(h) if isinstance(h := n.a(x).relu(), torch.Tensor) else n.other(h[0]),
        a=nn.Linear(5, 8), head=head(8), other=head(8)), (5,)),
    "asks for what a tensor lacks": lambda: (Written(
        lambda n, x: n.head(h.logits if hasattr(h := n.a(x).relu(), "logits") else h),
        a=nn.Linear(5, 8), head=head(8)), (5,)),
    "asks whether it was given several": lambda: (Written(
        lambda n, x: n.head((h[0] if isinstance(h := n.a(x).chunk(2, 1), tuple) else h).relu()),
        a=nn.Linear(5, 8), head=head(4)), (5,)),
    "checkpoints": lambda: (Written(
        lambda n, x: n.head(checkpoint(
            n.c, checkpoint(n.b, n.a(x).relu(), use_reentrant=False).relu(), use_reentrant=True).relu().mean((2, 3))),
        a=conv(3, 6), b=conv(6, 8), c=conv(8, 5), head=head(5)), IMAGE),
    "units put together in reverse": lambda: (Written(
        lambda n, x: n.head(torch.stack(n.a(x).relu().unbind(1)[::-1], 1)), a=nn.Linear(5, 8), head=head(8)), (5,)),
    "an operation of one's own": lambda: (Written(
        lambda n, x: n.head(n.b(Squashed.apply(n.a(x).relu())).relu().mean((2, 3))),
        a=conv(3, 6), b=conv(6, 8), head=head(8)), IMAGE),
    "writes into a tensor": lambda: (Written(shifted_in_time, a=conv(3, 6), b=conv(6, 8), head=head(8)), IMAGE),
    "functions in place": lambda: (Written(
        lambda n, x: n.head((F.leaky_relu_(y := n.a(x), 0.2), torch.sigmoid_(z := n.b(y)), z)[2].mean((2, 3))),
        a=conv(3, 6), b=conv(6, 8), head=head(8)), IMAGE),
    "neither and nor not": lambda: (Written(
        lambda n, x: n.head((y := n.a(x).relu()) * (~(y > 0.2) & (y < 0.9))), a=nn.Linear(5, 8), head=head(8)), (5,)),
    "powers": lambda: (Written(
        lambda n, x: n.head(((n.b(n.a(x) ** 2).clamp_min(0) + 0.1).pow(0.5).log1p() * 2).mean((2, 3)).reciprocal()),
        a=conv(3, 6), b=conv(6, 8), head=head(8)), IMAGE),
    "instance normalisation": lambda: (nn.Sequential(
        conv(3, 6), nn.InstanceNorm2d(6, affine=True), nn.ReLU(), conv(6, 8), nn.InstanceNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(8)), IMAGE),
    "a quantised value, straight through": lambda: (Written(
        lambda n, x: n.head((y := n.a(x).relu()) + (torch.tanh(y) - y).detach()), a=nn.Linear(5, 8), head=head(8)),
        (5,)),
    "a frozen part": lambda: (Written(
        frozen_part, a=nn.Linear(5, 8), b=nn.Linear(8, 6), head=head(9)), (5,)),
    "instance normalisation of units": lambda: (nn.Sequential(
        nn.Linear(5, 8), nn.InstanceNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), head(6)), (5,)),
    "transposed, by index, by einsum": lambda: (Written(
        lambda n, x: n.head(torch.einsum(
            "ncd,ned->nce", (y := n.up(n.a(x).relu()).relu()).flatten(2)[:, [3, 1, 2]],
            y.flatten(2).index_select(1, torch.tensor([0, 2, 4]))).flatten(1).relu()),
        a=conv(3, 6), up=nn.ConvTranspose2d(6, 5, 2, 2), head=head(9)), IMAGE),
    "channels by channels": lambda: (Written(
        lambda n, x: n.head(torch.einsum("ncd,ned->nce", y := n.a(x).relu().flatten(2), y).flatten(1).relu()),
        a=conv(3, 6), head=head(36)), IMAGE),
    "a head of cosines": lambda: (Written(
        lambda n, x: n.head(F.normalize(n.a(x).relu().amax((2, 3)))), a=conv(3, 6), head=head(6)), IMAGE),
    "the largest and the smallest": lambda: (Written(
        lambda n, x: n.head(
            torch.cat([(y := n.a(x).relu()).amax(1), y.tanh().amin(1, keepdim=True)[:, 0]], 1).flatten(1)),
        a=conv(3, 6), head=head(128)), IMAGE),
    "called by names": lambda: (Written(
        by_names, a=conv(3, 6), b=conv(3, 6), act=nn.PReLU(6), norm=nn.BatchNorm2d(12), head=head(96)), IMAGE),
    "a convolution that reflects": lambda: (nn.Sequential(
        conv(3, 6), nn.Sigmoid(), nn.AvgPool2d(2), nn.Softplus(), nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(), nn.Flatten(), head(80)), IMAGE),
}  # fmt: skip


class Chosen(nn.Module):
    """Which forward() it has is chosen when it is made."""

    def __init__(self):
        super().__init__()
        self.part = conv(3, 3)
        self.forward = self.on_some

    def on_some(self, x):
        x = x.clone()
        x[:, :3] = self.part(x[:, :3].clone())
        return x


def written(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The network in float64, eval mode and with statistics that matter, and three samples."""
    torch.manual_seed(0)
    net, shape = NETWORKS[name]()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net.double().eval(), torch.rand(3, *shape, dtype=torch.float64)
