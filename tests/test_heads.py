"""Attention heads as neurons: opened, masked, sliced and extracted."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from nssutils import contribution, heads, neurons, operations, reports, restructuring, slicing

WIDTH, HEADS = 16, 4


class Mixer(nn.Module):
    """Attention as timm writes it, without its switches."""

    def __init__(self, width=WIDTH, n=HEADS, drop=0.0):
        super().__init__()
        self.num_heads, self.qkv, self.proj = n, nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.attn_drop, self.q_norm = nn.Dropout(drop), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = self.attn_drop(((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(-1))
        return self.proj((weights @ v).transpose(1, 2).reshape(n, tokens, width))


class Tokens(nn.Module):
    """A classifier of (N, tokens, 6) round one mixing module."""

    def __init__(self, mixing: nn.Module, first: bool = True):
        super().__init__()
        self.embed, self.mixing, self.first = nn.Linear(6, WIDTH), mixing, first
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x if self.first else x.transpose(0, 1)
        mixed = self.mixing(x, x, x, need_weights=False) if isinstance(self.mixing, nn.MultiheadAttention) else None
        mixed = self.mixing(x) if mixed is None else mixed
        x = x + (mixed[0] if isinstance(mixed, tuple) else mixed)
        return self.head(x.mean(1 if self.first else 0))


class Called(Tokens):
    """The same, calling whatever stands at `mixing` as nn.MultiheadAttention is called, with a mask."""

    hidden = torch.ones(5, 5).triu(1).bool()

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head((x + self.mixing(x, x, x, need_weights=False, attn_mask=self.hidden)[0]).mean(1))


def vit():
    net = VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=HEADS, hidden_dim=WIDTH, mlp_dim=24, num_classes=3
    )
    nn.init.normal_(net.heads.head.weight)
    return net


def encoder(**how):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True, dropout=0.1, **how)
    return Tokens(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


def attention(**how):
    return nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **how)


NETWORKS = {
    "vision transformer": (vit, (3, 8, 8)),
    "encoder": (encoder, (5, 6)),
    "encoder, norm first": (lambda: encoder(norm_first=True), (5, 6)),
    "timm's": (lambda: Tokens(Mixer()), (5, 6)),
    "masked": (lambda: Called(attention(bias=False)), (5, 6)),
}


def made(name):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    net = build().double().eval()
    for module in net.modules():  # as trained: no bias is zero
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_bias is not None:
            nn.init.normal_(module.in_proj_bias)
            nn.init.normal_(module.out_proj.bias)
    return net, torch.rand(12, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_opened_it_computes_the_same_and_the_network_stays_as_it_was(name):
    net, x = made(name)
    before, wanted = copy.deepcopy(net.state_dict()), net(x)
    net.train()
    other = heads.opened(net, x)
    assert net.training and not other.training
    assert torch.allclose(other(x), wanted, rtol=1e-10)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    found = {name: layer for name, layer in neurons.layers(other, x).items() if name.endswith(".heads")}
    assert found and {layer.width for layer in found.values()} == {HEADS}
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in net.parameters())


def test_a_head_is_masked_where_the_output_projection_would_not_read_it():
    net, x = made("vision transformer")
    other = heads.opened(net, x)
    layer = "encoder.layers.encoder_layer_1.self_attention"
    mask = torch.tensor([True, False, True, False])
    projection = net.get_submodule(layer).out_proj
    with torch.no_grad():
        projection.weight.mul_(mask.repeat_interleave(WIDTH // HEADS))
    with neurons.masked(other, {f"{layer}.heads": mask}):
        assert torch.allclose(other(x), net(x), rtol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_extracted_it_is_the_masked_network_without_the_heads_weights(name):
    net, x = made(name)
    other = heads.opened(net, x)
    found = neurons.layers(other, x)
    masks = {name: torch.arange(layer.width) % 4 != 1 for name, layer in found.items()}
    # Dropout within attention is none that a graph could turn on in training.
    small = heads.extract(other, masks, x, fold=name == "encoder, norm first")
    with neurons.masked(other, masks):
        assert torch.allclose(small(x), other(x), rtol=1e-8)
    only = {name: mask for name, mask in masks.items() if name.endswith(".heads")}
    small = heads.extract(other, only, x)
    gone = WIDTH // HEADS  # of each attention one head
    each = gone * 3 * WIDTH + gone * WIDTH
    biases = 0 if name in ("timm's", "masked") else 3 * gone
    size = sum(p.numel() for p in other.parameters())
    assert sum(p.numel() for p in small.parameters()) == size - len(only) * (each + biases)


def test_dropout_within_attention_is_not_lost_on_the_way_to_a_graph():
    net, x = made("encoder, norm first")
    other = heads.opened(net, x)
    masks = {name: torch.arange(layer.width) % 4 != 1 for name, layer in neurons.layers(other, x).items()}
    with pytest.raises(operations.UnsupportedNetwork, match="trained as in eval mode: at 'scaled_dot_product"):
        heads.extract(other, masks, x)


def test_heads_are_scored_sliced_reported_and_saved(tmp_path):
    net, x = made("vision transformer")
    other, y = heads.opened(net, x), torch.arange(12) % 3
    layer = "encoder.layers.encoder_layer_0.self_attention.heads"
    scores = contribution.score(other, x, y, contribution.METRICS)
    assert all(found[layer].shape == (3, HEADS) and found[layer].isfinite().all() for found in scores.values())
    one = slicing.semantic_slice(other, x, y, "taylor", 0.6, spatial="flatten")
    assert len(one.masks[layer]) == HEADS and 0 < one.compression_rate(other) < 1
    small = heads.extract(other, one, x)
    restructuring.save(small, tmp_path / "small.safetensors")
    again = restructuring.load(tmp_path / "small.safetensors", other)
    assert torch.equal(again(x), small(x))
    assert reports.report(other, one, x, y).parameters[1] < sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 4), nn.ReLU(), nn.Linear(4, 3)),
            "has no attention that can be opened .none at all",
        ),
        (lambda: Tokens(attention(add_zero_attn=True)), r"can be opened .MultiheadAttention"),
        (lambda: Tokens(Mixer(drop=0.5)), "expected nn.MultiheadAttention without extra keys"),
    ],
)
def test_what_cannot_be_opened_is_refused(build, message):
    with pytest.raises(heads.HeadError, match=message):
        heads.opened(build().eval(), torch.rand(2, 5, 6))


def test_masks_for_each_sample_and_attention_without_heads_are_refused():
    net, x = made("masked")
    other = heads.opened(net, x)
    tokens = torch.rand(2, 5, WIDTH, dtype=torch.float64)
    with pytest.raises(heads.HeadError, match="a mask for each sample"):
        other.mixing(tokens, key_padding_mask=torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(restructuring.RestructuringError, match="'mixing' keeps no head"):
        heads.extract(other, {"mixing.heads": torch.zeros(HEADS, dtype=torch.bool)}, x)


def test_what_computes_otherwise_under_the_same_names_is_refused():
    class Other(Mixer):
        def forward(self, x):
            return super().forward(x) * 2

    with pytest.raises(heads.HeadError, match="gives other outputs: "):
        heads.opened(Tokens(Other()).eval(), torch.rand(2, 5, 6))


def test_several_outputs_are_compared_one_by_one():
    class Several(Called):
        def forward(self, x):
            y = super().forward(x)
            return {"out": y, "twice": 2 * y}

    net, x = Several(attention()).double().eval(), torch.rand(2, 5, 6, dtype=torch.float64)
    other = heads.opened(net, x)
    small = heads.extract(other, {"mixing.heads": torch.arange(HEADS) > 0}, x)
    assert small(x).keys() == {"out", "twice"}


def test_a_network_that_goes_on_with_attention_s_weights_is_refused():
    class Weights(Tokens):
        def forward(self, x):
            x = self.embed(x)
            return self.head((self.mixing(x, x, x)[1] @ x).mean(1))

    with pytest.raises(heads.HeadError, match="gives other outputs: it fails with "):
        heads.opened(Weights(attention()).eval(), torch.rand(2, 5, 6))


def test_tokens_may_come_first():
    torch.manual_seed(0)
    net = Tokens(nn.MultiheadAttention(WIDTH, HEADS), first=False).eval()
    x = torch.rand(3, 5, 6)
    other = heads.opened(net, x)
    assert torch.allclose(other(x), net(x), rtol=1e-4)
    assert neurons.record(other, x)["mixing.heads"].shape == (3, HEADS, 1)
