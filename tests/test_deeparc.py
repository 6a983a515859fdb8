"""DeepArc: units, similarity, removal, and the parameter counts behind the paper's sentences."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from written_networks import Written, written

from nssutils import deeparc, freezing, models, neurons, readaptation, settings, similarity
from nssutils.errors import NssError


@pytest.mark.parametrize(
    "name, count", [("mlp-mnist", 2), ("alexnet-cifar10", 6), ("vgg16-cifar10", 13), ("resnet101-cifar10", 33)]
)
def test_units_are_layers_or_residual_blocks(name, count):
    assert len(deeparc.units(models.build(settings.get(name, "smoke")))) == count


@pytest.mark.parametrize(
    "name, gone, share",
    [
        ("alexnet-cifar10", ["classifier.1"], 0.8797),
        ("vgg16-cifar10", ["features.37", "features.40"], 0.3206),
        ("resnet101-cifar10", ["layer1.1", "layer3.1", "layer3.2", "layer3.3", "layer3.4"], 0.1068),
    ],
)
def test_removing_what_the_paper_removed_compresses_as_it_says(name, gone, share):
    net = models.build(name)
    found = [unit for unit in deeparc.units(net) if unit.name in gone]
    slim = deeparc.remove(net, found, torch.rand(2, 3, 32, 32))
    assert 1 - models.count_parameters(slim) / models.count_parameters(net) == pytest.approx(share, abs=5e-5)
    assert slim(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_layers_that_do_the_same_are_fully_similar_and_removed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        net[2].weight.copy_(torch.eye(6))
        net[2].bias.zero_()
    x = torch.rand(20, 4)
    alike = deeparc.similarities(net, x)
    assert alike == pytest.approx([1.0])
    gone = deeparc.redundant(deeparc.units(net), alike)
    assert [unit.name for unit in gone] == ["2"]
    slim = deeparc.remove(net, gone, x)
    torch.testing.assert_close(slim(x), net(x))
    assert isinstance(slim[2], nn.Identity) and isinstance(net[2], nn.Linear)


def test_a_masked_network_is_refused():
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)), torch.rand(20, 4)
    with neurons.masked(net, {"0": torch.arange(6) < 3}):
        for ask in (deeparc.similarities, deeparc.units, lambda net, x: deeparc.remove(net, [], x)):
            with pytest.raises(deeparc.DeepArcError, match="is masked, expected a whole network"):
                ask(net, x)


def test_a_sewing_layer_recovers_a_linear_unit():
    torch.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 7, 1, stride=2), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(),
        nn.Linear(63, 2),
    ).eval()  # fmt: skip
    x = torch.rand(8, 3, 6, 6)
    slim = deeparc.remove(conv, [deeparc.units(conv)[1]], x)
    torch.testing.assert_close(slim(x), conv(x), rtol=1e-3, atol=1e-4)
    assert isinstance(slim[3], nn.Identity)


def test_an_unknown_unit_is_refused():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(deeparc.DeepArcError, match="unit '7' given, expected one of 0"):
        deeparc.remove(net, [deeparc.Unit("7", "", ("7",))], torch.rand(2, 4))


def test_what_is_added_to_the_input_alone_is_no_block():
    """Normalised images, a parameter added: neither is a residual block."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
    normalise = Written(lambda n, x: (x - n.mean) / 0.25, mean=nn.Parameter(torch.rand(3, 1, 1)))
    inline = Written(lambda n, x: n.body((x - 0.5) / 0.25), body=body)
    assert [unit.name for unit in deeparc.units(nn.Sequential(normalise, body))] == ["1.0", "1.2"]
    assert [unit.name for unit in deeparc.units(inline)] == ["body.0", "body.2"]
    assert len(deeparc.similarities(inline, torch.rand(5, 3, 8, 8))) == 1


def test_units_of_a_network_whose_inputs_cannot_be_guessed():
    net = Written(
        lambda n, x: n.c(n.b(n.a(n.e(x).flatten(1) if x.shape[1] == 4 else x)).relu()).relu(),
        e=nn.Embedding(9, 3), a=nn.Linear(12, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 2),
    )  # fmt: skip
    x = torch.randint(9, (20, 4))
    found = deeparc.units(net, x)
    assert [unit.name for unit in found] == ["a", "b"]
    assert deeparc.remove(net, found[1:], x)(x).shape == (20, 2)


@pytest.fixture(scope="module")
def thin():
    """A thin ResNet-14 with statistics of batch normalisation that fit, in eval mode, and images."""
    torch.manual_seed(0)
    net, x = models.build("resnet14-cifar10", width=0.25, image_size=8), torch.rand(40, 3, 8, 8)
    for _ in range(20):
        net(x)
    return net.eval(), x


def test_debiased_similarities_are_the_debiased_cka_of_each_pair(thin):
    net, x = thin
    found = deeparc.units(net)
    seen = {}
    hooks = [
        net.get_submodule(unit.name).register_forward_hook(
            lambda *args, name=unit.name: seen.setdefault(name, []).append(similarity.gram(args[2]))
        )
        for unit in found
    ]
    with torch.no_grad():
        net(x[:20]), net(x[20:])
    for hook in hooks:
        hook.remove()
    expected = [
        similarity.minibatch_cka(zip(seen[a.name], seen[b.name], strict=True)) for a, b in itertools.pairwise(found)
    ]
    assert deeparc.debiased_similarities(net, x.split(20)) == pytest.approx(expected)
    assert deeparc.debiased_similarities(net.train(), x.split(20)) == pytest.approx(expected)  # in eval mode whatever
    assert net.training
    net.eval()


def test_modules_are_runs_of_alike_units():
    found = [deeparc.Unit(str(i), "", (str(i),)) for i in range(6)]
    grouped = deeparc.modules(found, [0.995, 0.999, 0.99, 0.5, 0.991])
    assert [[unit.name for unit in group] for group in grouped] == [["0", "1", "2"], ["3"], ["4", "5"]]
    assert deeparc.modularity(grouped) == pytest.approx(5 / 6)
    # All but the first of each module are what RQ1's baseline removes.
    assert deeparc.redundant(found, [0.995, 0.999, 0.99, 0.5, 0.991]) == [u for group in grouped for u in group[1:]]
    assert deeparc.modules(found[:1], []) == [found[:1]] and deeparc.modules([], []) == []
    assert deeparc.modularity([]) == deeparc.modularity([found[:1]]) == 0
    with pytest.raises(deeparc.DeepArcError, match="4 similarities given, expected 5 of 6 units"):
        deeparc.modules(found, [1.0] * 4)


def test_blocks_that_keep_shape_can_be_removed_and_added(thin):
    net, x = thin
    kept = deeparc.preserving(net, x[:1])
    assert [unit.name for unit in kept] == ["layer1.0", "layer1.1", "layer2.1", "layer3.1"]
    assert deeparc.preserving(models.build("mlp-mnist", width=0.1), torch.rand(1, 1, 28, 28)) == []
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    grown = deeparc.add(net, kept[1:3], x[:1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert len(deeparc.units(grown)) == len(deeparc.units(net)) + 2
    extra = [models.count_parameters(net.get_submodule(unit.name)) for unit in kept[1:3]]
    assert models.count_parameters(grown) == models.count_parameters(net) + sum(extra)
    with torch.no_grad():
        stem = net.relu(net.bn1(net.conv1(x)))
        twice = net.layer1[1](net.layer1[1](net.layer1[0](stem)))
        blocks = net.layer2[1](net.layer2[1](net.layer2[0](twice)))
        expected = net.fc(net.layer3(blocks).mean((2, 3)))
        torch.testing.assert_close(grown(x), expected)
    # Without the copies it is the network again.
    back = deeparc.remove(grown, [u for u in deeparc.units(grown) if u.name in ("layer1.1.1", "layer2.1.1")], x[:1])
    torch.testing.assert_close(back(x), net(x))


def test_what_cannot_be_copied_is_refused(thin):
    net, x = thin
    found = {unit.name: unit for unit in deeparc.units(net)}
    with pytest.raises(deeparc.DeepArcError, match=r"block 'layer2.0' makes \(8, 4, 4\) of \(4, 8, 8\), expected one"):
        deeparc.add(net, [found["layer2.0"]], x[:1])
    with pytest.raises(deeparc.DeepArcError, match=r"unit 'layer9.1' given, expected one of layer1.0"):
        deeparc.add(net, [deeparc.Unit("layer9.1", "", ("layer9.1",))], x[:1])
    with pytest.raises(deeparc.DeepArcError, match=r"unit 'layer1.1' given twice"):
        deeparc.add(net, [found["layer1.1"]] * 2, x[:1])
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(deeparc.DeepArcError, match="unit '0' is a Linear, expected a residual block"):
        deeparc.add(plain, deeparc.units(plain), torch.rand(2, 4))


def test_the_search_draws_different_subsets_and_repeats_itself(thin):
    net, x = thin
    among = deeparc.preserving(net, x[:1])

    def parameters(seed):
        return deeparc.search(net, among, x[:1], models.count_parameters, draws=5, seed=seed)

    found = parameters(0)
    drawn = [tuple(unit.name for unit in gone) for gone, _ in found]
    assert [len(names) for names in drawn] == [1] * 4 + [2] * 5 + [3] * 4 + [4]
    assert len(set(drawn)) == len(drawn) and all(list(names) == sorted(names) for names in drawn)
    for gone, left in found:
        assert left == models.count_parameters(deeparc.remove(net, gone, x[:1]))
    assert parameters(0) == found != parameters(1)
    with pytest.raises(deeparc.DeepArcError, match="size 5 given, expected from 1 to 4"):
        deeparc.search(net, among, x[:1], models.count_parameters, sizes=[5])


def test_units_are_repaired_where_the_cka_falls_most(thin):
    net, x = thin
    moved = (x + 0.3 * torch.rand_like(x)).clamp(0, 1)
    found = deeparc.units(net)
    alike = list(readaptation._changes(net, found, x, moved).values())
    falls = {unit.name: a - b for unit, (a, b) in zip(found[1:], itertools.pairwise(alike), strict=True)}
    chosen = [unit.name for unit in readaptation.dropping_units(net, x, moved, count=3)]
    assert chosen == sorted(falls, key=falls.get, reverse=True)[:3]
    assert len(readaptation.dropping_units(net, x, moved, count=99)) == len(found) - 1
    with pytest.raises(NssError, match="count=0 given, expected at least 1"):
        readaptation.dropping_units(net, x, moved, count=0)


def test_deeparc_s_repair_trains_its_units_only_and_lowers_its_loss(thin):
    net, x = thin
    y, moved = torch.arange(40) % 10, (x + 0.3 * torch.rand_like(x)).clamp(0, 1)
    units = readaptation.dropping_units(net, x, moved, count=2)

    def block(network, images):
        seen = []
        hook = network.get_submodule(units[0].name).register_forward_hook(lambda *args: seen.append(args[2].clone()))
        with torch.no_grad():
            logits = network(images)
        hook.remove()
        return seen[0], logits

    def loss(network):  # as printed, in one batch
        wanted, both = block(net, x)[0], torch.cat([x, moved])
        given, logits = block(network, both)
        apart = nn.functional.mse_loss(given, torch.cat([wanted, wanted]))
        return 0.5 * apart + 0.5 * nn.functional.cross_entropy(logits, torch.cat([y, y]))

    how = dict(epochs=1, batch_size=40, lr=0.01)
    mended = readaptation.repair_units(copy.deepcopy(net), x, moved, y, units, **how)
    parts = tuple(f"{unit.name}." for unit in units)
    for name, tensor in mended.state_dict().items():
        same = torch.equal(tensor, net.state_dict()[name])
        assert same or name.startswith(parts), name
    assert not torch.equal(
        mended.get_submodule(units[0].name).conv1.weight, net.get_submodule(units[0].name).conv1.weight
    )
    assert not mended.get_submodule(units[0].name)._forward_hooks
    # One step of it is one step of SGD down the printed loss.
    by_hand = copy.deepcopy(net)
    given = []
    hook = by_hand.get_submodule(units[0].name).register_forward_hook(lambda *args: given.append(args[2]))
    logits = by_hand(torch.cat([x, moved]))
    hook.remove()
    wanted = block(net, x)[0]
    value = 0.5 * nn.functional.mse_loss(given[0], torch.cat([wanted, wanted]))
    value = value + 0.5 * nn.functional.cross_entropy(logits, torch.cat([y, y]))
    assert value.item() == pytest.approx(loss(net).item(), rel=1e-5)
    value.backward()
    for name, p in by_hand.named_parameters():
        if name in freezing.whole(net, [unit.name for unit in units]):
            expected = p.detach() - 0.01 * p.grad
            torch.testing.assert_close(mended.get_parameter(name).detach(), expected, rtol=1e-4, atol=1e-6)
    further = readaptation.repair_units(copy.deepcopy(net), x, moved, y, units, epochs=20, lr=0.01)
    assert loss(further) < loss(net)
    with pytest.raises(NssError, match="no units given to repair"):
        readaptation.repair_units(copy.deepcopy(net), x, moved, y, [])


def test_a_transformers_layer_is_one_unit():
    """Its two additions were two units of one name, and what DeepArc trains could not be told."""
    net = models.build(settings.get("vit-cifar10", "smoke", width=0.125)).eval()
    found = deeparc.units(net)
    assert len(found) == len(net.encoder.layers) and len({unit.name for unit in found}) == len(found)
    x = torch.rand(8, net.conv_proj.in_channels, net.image_size, net.image_size)
    assert set(readaptation.critical_units(net, x, (x + 0.1).clamp(max=1), 1.0)) == set(found)  # none is dropped at 1


class Masked(nn.Module):
    """A block that is called with a mask besides."""

    def __init__(self, width: int, out: int | None = None):
        super().__init__()
        self.a = nn.Linear(width, out or width)
        self.b = nn.Linear(width, out or width)

    def forward(self, x, mask=None, *, scale: float = 1.0):
        return self.a(x) * mask + self.b(x) * scale


def test_a_block_that_is_called_with_more_than_its_input_is_removed_and_added():
    """What took its place had one argument, and the network failed with torch's words."""
    net = Written(
        lambda m, x: m.head(m.two(m.one(m.stem(x), x[:, :1]), x[:, :1], scale=2.0)),
        stem=nn.Linear(4, 6), one=Masked(6), two=Masked(6), head=nn.Linear(6, 3),
    ).eval()  # fmt: skip
    x = torch.rand(8, 4)
    units = deeparc.units(net, x)
    assert [unit.name for unit in units] == ["one", "two"] and deeparc.preserving(net, x) == units
    first, mask = net.one(net.stem(x), x[:, :1]), x[:, :1]
    torch.testing.assert_close(deeparc.remove(net, units[1:], x)(x), net.head(first))
    grown = deeparc.add(net, units[1:], x)
    once = net.two(first, mask, scale=2.0)
    torch.testing.assert_close(grown(x), net.head(net.two(once, mask, scale=2.0)))


def test_what_stays_a_network_only_with_its_units_is_refused():
    def asks(m, x):
        return m.head(m.block(m.stem(x), x[:, :1]) * m.block.a.in_features)

    net, x = Written(asks, stem=nn.Linear(4, 6), block=Masked(6), head=nn.Linear(6, 3)).eval(), torch.rand(8, 4)
    units = deeparc.units(net, x)
    for change in (deeparc.remove, deeparc.add):
        with pytest.raises(deeparc.DeepArcError, match=r"fails \(AttributeError: .*expected one whose forward\(\)"):
            change(net, units, x)
    wider = Written(
        lambda m, x: m.head(m.block(m.stem(x), x[:, :1])),
        stem=nn.Linear(4, 6),
        block=Masked(6, 5),
        head=nn.Linear(5, 3),
    )
    with pytest.raises(deeparc.DeepArcError, match="called with more than one input: no layer can take its place"):
        deeparc.remove(wider, deeparc.units(wider, x), x)
    named = Written(
        lambda m, x: m.head(m.block(x=m.stem(x), mask=x[:, :1])),
        stem=nn.Linear(4, 6),
        block=Masked(6),
        head=nn.Linear(6, 3),
    )
    with pytest.raises(deeparc.DeepArcError, match="with its inputs by name"):
        deeparc.remove(named, deeparc.units(named, x), x)


def test_torch_s_own_transformer_loses_and_gains_layers():
    net, x = written("torch's transformer")
    units = deeparc.units(net, x)
    assert [unit.name for unit in units] == ["encoder.layers.0", "encoder.layers.1"]
    slim = deeparc.remove(net, units[1:], x)
    torch.testing.assert_close(slim(x), net.head(net.encoder.layers[0](net.embed(x)).mean(1)))
    grown = deeparc.add(net, units[1:], x)
    twice = net.encoder.layers[1](net.encoder(net.embed(x)))
    torch.testing.assert_close(grown(x), net.head(twice.mean(1)))
    with pytest.raises(deeparc.DeepArcError, match="self_attn"):  # torch asks its first layer
        deeparc.remove(net, units[:1], x)


def test_a_normalisation_called_as_a_function_is_repaired_and_not_removed():
    """The function stood among the modules of its unit."""
    net, x = written("a subclass of BN with its activation")
    units = deeparc.units(net, x)
    normalised = [unit for unit in units if len(unit.parts) > 1]
    assert normalised and all(isinstance(net.get_submodule(part), nn.Module) for one in units for part in one.parts)
    with pytest.raises(deeparc.DeepArcError, match="a BatchNormAct, which may do more"):
        deeparc.remove(net, normalised[:1], x)
    y = torch.arange(len(x)) % 3
    before = copy.deepcopy(net.state_dict())
    readaptation.repair_units(net, x, x + 0.1, y, normalised[:1], epochs=1)
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"{part}.{own}" for part in normalised[0].parts for own in ("weight", "bias")} & before.keys()


class Named(nn.Module):
    """The first layer, or block, has a second name."""

    def __init__(self, first, width):
        super().__init__()
        self.first = first
        self.body = nn.Sequential(self.first, nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        return self.body(x)


class Adds(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a = nn.Linear(width, width)

    def forward(self, x):
        return x + self.a(x).relu()


def test_what_has_two_names_goes_and_is_doubled_under_both():
    torch.manual_seed(0)
    net, x = Named(nn.Linear(5, 5), 5).eval(), torch.rand(6, 5)
    slim = deeparc.remove(net, deeparc.units(net, x)[:1], x)
    torch.testing.assert_close(slim(x), net.body[1:](x))
    net = Named(Adds(5), 5).eval()
    (block,) = deeparc.units(net, x)
    torch.testing.assert_close(deeparc.remove(net, [block], x)(x), net.body[1:](x))
    torch.testing.assert_close(deeparc.add(net, [block], x)(x), net.body(net.first(x)))


def test_a_block_that_is_called_twice_is_one_unit():
    torch.manual_seed(0)
    net, x = (
        Written(lambda n, x: n.head(n.two(n.one(n.one(x)))), one=Adds(5), two=Adds(5), head=nn.Linear(5, 3)),
        torch.rand(6, 5),
    )
    net.eval()
    one, two = deeparc.units(net, x)
    assert (one.name, two.name) == ("one", "two") and len(deeparc.preserving(net, x)) == 2
    torch.testing.assert_close(deeparc.remove(net, [one], x)(x), net.head(net.two(x)))
    torch.testing.assert_close(deeparc.add(net, [two], x)(x), net.head(net.two(net.two(net.one(net.one(x))))))
    with pytest.raises(NssError, match="'one' is called 2 times in a pass"):
        readaptation.repair_units(net, x, x, torch.arange(6) % 3, [one], epochs=1)


def test_a_size_that_is_asked_for_on_the_way_is_no_part_of_a_layer():
    def forward(n, x):
        y = n.a(x)
        rows = y.shape[0]
        return n.head(n.bn(y).relu().view(rows, -1))

    net = Written(forward, a=nn.Linear(5, 6), bn=nn.BatchNorm1d(6), head=nn.Linear(6, 3)).eval()
    (unit,) = deeparc.units(net)
    assert unit.parts == ("a", "bn")


@pytest.mark.parametrize(
    "first, x",
    [
        (nn.Conv1d(2, 4, 3, stride=2), torch.rand(2, 2, 9)),
        (nn.Conv2d(2, 4, 1, padding=2), torch.rand(2, 2, 5, 5)),
        (nn.Conv3d(2, 4, 3), torch.rand(2, 2, 5, 5, 5)),
    ],
)
def test_a_layer_whose_place_none_can_take_is_refused_by_name(first, x):
    second = type(first)(4, 4, 1)
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    net(x)
    with pytest.raises(deeparc.DeepArcError, match="no layer takes the place"):
        deeparc.remove(net, deeparc.units(net, x)[:1], x)


class Joined(nn.Module):
    """A residual block that ends in a module, in a function, or in an addition of a module's own."""

    def __init__(self, width, end):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.relu, self.plus, self.end = nn.ReLU(), Plus(), end

    def forward(self, x):
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.end == "module":
            return self.relu(out + x)
        return F.relu(out + x) if self.end == "function" else F.relu(self.plus(out, x))


class Plus(nn.Module):
    def forward(self, a, b):
        return a + b


class WrittenNorm(nn.Module):
    """A normalisation over channels, written out."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width, 1, 1))

    def forward(self, x):
        apart = x - x.mean(1, keepdim=True)
        return self.scale * apart / torch.sqrt(apart.pow(2).mean(1, keepdim=True) + 1e-6)


class WrittenGelu(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3)))


@pytest.mark.parametrize("end", ["module", "function", "a module's own addition"])
def test_a_block_gives_what_comes_out_of_it_however_it_ends(end):
    """One that ended in F.relu was measured before that; an addition in a module of its own was the block."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), *[Joined(6, end) for _ in range(3)], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    ).eval()
    x, given = torch.rand(8, 3, 9, 9), []
    for block in net[1:4]:
        block.register_forward_hook(lambda module, inputs, output: given.append(similarity.gram(output.detach())))
    net(x)
    for block in net[1:4]:
        block._forward_hooks.clear()
    found = deeparc.units(net, x)
    assert [unit.name for unit in found] == ["1", "2", "3"]
    assert deeparc.similarities(net, x) == pytest.approx(
        [similarity.cka(*pair) for pair in itertools.pairwise(given)], rel=1e-5
    )
    assert torch.equal(deeparc.remove(net, found[1:2], x)(x), net[4:](net[3](net[1](net[0](x)))))


def test_what_is_added_within_a_normalisation_or_an_activation_is_no_block():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), WrittenNorm(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), WrittenGelu(), nn.Flatten(),
        nn.Linear(6 * 49, 3),
    ).eval()  # fmt: skip
    assert [unit.name for unit in deeparc.units(net, torch.rand(4, 3, 9, 9))] == ["0", "3"]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_layer_of_a_plain_network_is_no_block(dims):
    """Convolutions of one and of three dimensions were doubled, without their normalisation."""
    conv, norm, pool = (getattr(nn, f"{kind}{dims}d") for kind in ("Conv", "BatchNorm", "AdaptiveAvgPool"))
    net = nn.Sequential(
        conv(2, 6, 3), norm(6), nn.ReLU(), conv(6, 6, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(6, 3)
    ).eval()
    x = torch.rand(4, 2, *[8] * dims)
    assert deeparc.preserving(net, x) == []
    with pytest.raises(deeparc.DeepArcError, match=f"unit '3' is a Conv{dims}d, expected a residual block"):
        deeparc.add(net, deeparc.units(net, x)[1:], x)


class Normalised(nn.Module):
    """Three layers, normalised by one module, or by what the network itself has."""

    def __init__(self, own):
        super().__init__()
        self.a, self.b, self.c, self.head = *(nn.Linear(6, 6) for _ in range(3)), nn.Linear(6, 3)
        self.norm, self.scale, self.own = nn.BatchNorm1d(6), nn.Parameter(torch.rand(6)), own
        self.register_buffer("mean", torch.rand(6))
        self.register_buffer("var", torch.rand(6))

    def forward(self, x):
        for layer in (self.a, self.b, self.c):
            x = layer(x)
            x = torch.relu(F.batch_norm(x, self.mean, self.var, self.scale) if self.own else self.norm(x))
        return self.head(x)


def test_a_normalisation_that_cannot_go_alone_stays():
    """One that other layers have, too, went for all; one of the network itself stayed behind without a word."""
    x = torch.rand(20, 6)
    for own, message in ((False, "'norm' of unit 'b' is another's, too"), (True, "by mean, var, scale of the network")):
        net = Normalised(own).eval()
        with pytest.raises(deeparc.DeepArcError, match=message):
            deeparc.remove(net, deeparc.units(net, x)[1:2], x)
    net = nn.Sequential(
        nn.Linear(6, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Linear(9, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Linear(9, 3)
    ).eval()
    first, second = deeparc.units(net, x)
    with pytest.raises(deeparc.DeepArcError, match="unit '0' is normalised behind its activation"):
        deeparc.remove(net, [first], x)  # the sewing layer was fitted as if no activation came after it
    assert torch.equal(deeparc.remove(net, [second], x)(x), net[6](net[:3](x).relu()))


class Several(Joined):
    def forward(self, x):
        return super().forward(x), x.mean()


class First(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x)[0]


def test_a_block_that_gives_several_values_is_named():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), First(Several(6, "function")), nn.Flatten(), nn.Linear(6 * 49, 3)).eval()
    x = torch.rand(4, 3, 9, 9)
    found = deeparc.units(net, x)
    for edit in (lambda: deeparc.remove(net, found, x), lambda: deeparc.add(net, found, x)):
        with pytest.raises(deeparc.DeepArcError, match=r"unit '1.block' takes or gives a tuple, expected a tensor"):
            edit()


@pytest.mark.parametrize(("size", "stride"), [((12, 12), (2, 2)), ((13, 13), (2, 2)), ((7, 12), (2, 2))])
def test_a_sewing_layer_has_the_stride_of_what_it_takes_the_place_of(size, stride):
    """Maps of an odd number of rows were refused."""
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, stride=(1, 2), padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    ).eval()  # fmt: skip
    x = torch.rand(8, 3, *size)
    slim = deeparc.remove(net, deeparc.units(net, x), x)
    assert [slim[0].stride, slim[2].stride] == [stride, (1, 2)]
    assert slim[:3](x).shape == net[:3](x).shape
