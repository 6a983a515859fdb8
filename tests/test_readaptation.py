"""Attacks against captum's, what they leave behind, and what a repair trains."""

import copy

import pytest
import torch
import torch.nn.functional as F
from captum.robust import FGSM, PGD
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from written_networks import Written

from nssutils import data, deeparc, incremental, models, neurons, readaptation, settings, training

LOSS = nn.CrossEntropyLoss(reduction="none")  # captum sums the images' losses itself


def conv_net() -> nn.Module:
    torch.manual_seed(0)
    net = models.build("vgg16-cifar10", width=0.0625)
    net(torch.rand(64, 3, 32, 32))  # statistics of batch normalisation that fit
    return net.eval()


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(1)
    return torch.rand(12, 3, 32, 32), torch.arange(12) % 10


def test_fgsm_is_captum_s(images):
    net, x, y = conv_net(), images[0].clone().requires_grad_(), images[1]
    attack = FGSM(net, LOSS, lower_bound=0, upper_bound=1)
    attack.zero_thresh = 0  # else captum takes gradients below 1e-6 for none
    theirs = attack.perturb(x, epsilon=0.03, target=y)
    torch.testing.assert_close(readaptation.fgsm(net, *images, eps=0.03), theirs, rtol=0, atol=1e-7)
    assert (theirs != x).float().mean() > 0.9


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_pgd_is_captum_s(images):
    net, x, y = conv_net(), images[0].clone().requires_grad_(), images[1]
    attack = PGD(net, LOSS, lower_bound=0, upper_bound=1)
    attack.fgsm.zero_thresh = 0
    theirs = attack.perturb(x, radius=0.03, step_size=0.01, step_num=4, target=y, norm="Linf")
    ours = readaptation.pgd(net, *images, eps=0.03, steps=4, alpha=0.01, random_start=False)
    assert (theirs - x).abs().max() > 0.0299
    # A gradient near zero has either sign by rounding; what follows from it is little.
    assert ((ours - theirs).abs() > 1e-6).float().mean() < 0.01


@given(st.sampled_from(["fgsm", "pgd"]), st.floats(1e-4, 0.6), st.integers(0, 9))
def test_adversarials_are_images_within_eps(attack, eps, seed):
    torch.manual_seed(seed)
    net = models.build("mlp-mnist", width=0.0625)
    x, y = torch.rand(4, 1, 28, 28), torch.arange(4)
    adversarial = readaptation.ATTACKS[attack](net, x, y, eps)
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert (adversarial - x).abs().max() <= eps + 1e-6


@pytest.mark.parametrize("attack", readaptation.ATTACKS)
def test_attacks_leave_no_trace(attack, images):
    net = conv_net().train()
    net.features[0].weight.requires_grad_(False)
    state, before = torch.get_rng_state(), copy.deepcopy(net.state_dict())
    x, kept = images[0].clone(), images[0].clone()
    first = readaptation.ATTACKS[attack](net, x, images[1], 0.03)
    assert torch.equal(x, kept) and not x.requires_grad and not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters()) and net.training
    assert not net.features[0].weight.requires_grad
    with torch.no_grad():  # no matter where it is called
        assert torch.equal(readaptation.ATTACKS[attack](net, x, images[1], 0.03), first)


def test_an_image_s_adversarial_does_not_depend_on_the_batch(images):
    net, (x, y) = conv_net(), images
    torch.testing.assert_close(
        readaptation.fgsm(net, x, y, 0.02, batch_size=3), readaptation.fgsm(net, x, y, 0.02), rtol=0, atol=1e-6
    )


def test_eps_must_be_positive(images):
    with pytest.raises(readaptation.AttackError, match=r"eps=0 given, expected a distance above 0"):
        readaptation.fgsm(conv_net(), *images, eps=0)


def test_calibration_comes_near_the_accuracy_asked_for():
    setting = settings.get("mlp-mnist", "smoke")
    loaded = data.load(setting)
    net = training.trained(setting, 0, loaded)
    x, y = loaded.x_train[:300], loaded.y_train[:300]
    for attack in readaptation.ATTACKS.values():
        eps = readaptation.calibrate(attack, net, x, y, 0.5)
        assert training.evaluate(net, attack(net, x, y, eps), y) == pytest.approx(0.5, abs=0.05)
    # Out of reach: a network that never errs. The search ends all the same.
    always = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        always[1].weight.zero_()
        always[1].bias.copy_(F.one_hot(torch.tensor(3), 10))
    assert readaptation.calibrate(readaptation.fgsm, always, x[y == 3], y[y == 3], 0.2) > 0


def masks_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.arange(layer.width) % 2 == 0 for name, layer in neurons.layers(net).items()}


@pytest.mark.parametrize(
    ("name", "left_out", "printed"),
    [("alexnet-cifar10", ["features.0", "features.4"], 0.9918),
     ("vgg16-cifar10", ["features.0", "features.3", "features.37", "features.40"], 0.6760)],
)  # fmt: skip
def test_deeparc_s_share_in_table_5_from_the_units_it_stands_for(name, left_out, printed):
    """Without the first two convolutions, redundant units, batch normalisation and the head."""
    net = models.build(name)
    units = [unit for unit in deeparc.units(net) if unit.name not in left_out]
    elements = readaptation.trainable(net, "deeparc", masks_of(net), units)
    share = sum(int(mask.sum()) for mask in elements.values()) / models.count_parameters(net)
    assert share == pytest.approx(printed, abs=5e-5)


def test_the_combination_trains_what_both_train():
    net = conv_net()
    masks, units = masks_of(net), deeparc.units(net)[2:5]
    kept = {m: readaptation.trainable(net, m, masks, units) for m in readaptation.METHODS}
    assert kept["nss+deeparc"].keys() == kept["deeparc"].keys() < kept["full"].keys()
    for name, mask in kept["nss+deeparc"].items():
        assert torch.equal(mask, kept["nss"][name] & kept["deeparc"][name])
    assert all(mask.all() for mask in kept["full"].values()) and len(kept["full"]) == len(list(net.parameters()))
    with pytest.raises(readaptation.NssError, match="method 'half' given"):
        readaptation.trainable(net, "half", masks, units)


def test_units_that_an_attack_does_not_touch_are_not_critical(images):
    net, x = conv_net(), torch.rand(40, 3, 32, 32)
    assert readaptation.critical_units(net, x, x) == []
    touched = readaptation.critical_units(net, x, torch.rand(40, 3, 32, 32), threshold=0.99)
    assert touched and set(touched) <= set(deeparc.units(net))


@pytest.mark.parametrize("method", readaptation.METHODS)
def test_repair_moves_what_the_method_trains_and_not_one_bit_more(method, images):
    net, (x, y) = conv_net(), images
    elements = readaptation.trainable(net, method, masks_of(net), deeparc.units(net)[2:5])
    before, adversarial = copy.deepcopy(net.state_dict()), readaptation.fgsm(net, x, y, 0.03)
    readaptation.repair(net, x, adversarial, y, elements, epochs=4, lr=1e-3, batch_size=4)
    for name, tensor in net.state_dict().items():
        moved = tensor != before[name]
        assert not (moved & ~elements.get(name, torch.tensor(False))).any(), name
    assert any((net.state_dict()[name] != before[name]).any() for name in elements)


def test_repair_repairs():
    setting = settings.get("mlp-mnist", "smoke")
    loaded = data.load(setting)
    net = copy.deepcopy(training.trained(setting, 0, loaded))
    x, y = loaded.x_train[:200], loaded.y_train[:200]
    adversarial = readaptation.fgsm(net, x, y, 0.1)
    left = training.evaluate(net, adversarial, y)
    readaptation.repair(net, x, adversarial, y, readaptation.trainable(net, "full", {}, []), epochs=20)
    assert training.evaluate(net, adversarial, y) > left + 0.3
    assert training.evaluate(net, loaded.x_test, loaded.y_test) > 0.7


def test_deeparc_trains_weighted_layers_of_every_kind():
    net = nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3)),
        nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    elements = readaptation.trainable(net, "deeparc", {}, deeparc.units(net))
    assert elements.keys() == {name for name, _ in net.named_parameters() if name[0] in "03"}


def test_what_is_trained_of_a_network_that_needs_an_example():
    def forward(net, x):
        if x.shape[1] != 6:
            raise ValueError("six tokens expected")
        return net.head(net.a(x).relu().mean(1))

    net, x = Written(forward, a=nn.Linear(5, 8), head=nn.Linear(8, 4)), torch.rand(2, 6, 5)
    elements = readaptation.trainable(net, "nss", {"a": torch.arange(8) < 3}, [], x)
    assert {name: int(mask.sum()) for name, mask in elements.items()} == {
        "a.weight": 15, "a.bias": 3, "head.weight": 12, "head.bias": 4,
    }  # fmt: skip
    torch.testing.assert_close(incremental.of_task(net, torch.tensor([2, 0]), x)(x), net(x)[:, [2, 0]])


@pytest.mark.parametrize(
    "kind", [list, lambda y: y.tolist(), lambda y: y.int(), lambda y: F.one_hot(y, 4), lambda y: y.numpy()]
)
def test_labels_are_what_a_user_has(kind):
    torch.manual_seed(0)
    net, x, y = (
        nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)),
        torch.rand(6, 1, 2, 2),
        torch.arange(6) % 4,
    )
    assert torch.equal(readaptation.fgsm(net, x, kind(y), 0.1), readaptation.fgsm(net, x, y, 0.1))
    elements, units = readaptation.trainable(net, "full", {}, []), deeparc.units(net)
    one, other = copy.deepcopy(net), copy.deepcopy(net)
    for each, labels in ((one, y), (other, kind(y))):
        readaptation.repair(each, x, 1 - x, labels, elements, epochs=1, batch_size=3)
        readaptation.repair_units(each, x, 1 - x, labels, units, epochs=1, batch_size=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_images_that_were_normalised_and_back_are_attacked():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    x = torch.rand(3, 1, 2, 2).round() + torch.tensor(-3e-8)
    assert readaptation.fgsm(net, x, torch.tensor([0, 1, 0]), 0.1).shape == x.shape
    with pytest.raises(readaptation.AttackError, match=r"images from -0\.01 to"):
        readaptation.fgsm(net, x - 0.01, torch.tensor([0, 1, 0]), 0.1)


def test_what_deeparc_trains_of_a_transformer_is_all_but_its_normalisations():
    """The projections of queries, keys and values were left out."""
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    net = nn.Sequential(nn.Linear(5, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 4))
    x = torch.rand(4, 7, 5)
    units = deeparc.units(net.eval(), x)
    found = readaptation.trainable(net, "deeparc", None, units, x)
    inside = {name for name, _ in net.named_parameters() if ".layers." in name}
    assert found.keys() == {name for name in inside if ".norm" not in name} and all(
        mask.all() for mask in found.values()
    )
