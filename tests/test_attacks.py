"""Foolbox's attacks as NNSlicer's protocol needs them."""

import builtins

import numpy as np
import pytest
import torch

from nssutils import attacks, data, settings, training

SETTING = settings.get("lenet-mnist", "smoke")


@pytest.fixture(scope="module")
def trained():
    loaded = data.load(SETTING)
    net = training.trained(SETTING, 0, loaded)
    right = training.correct(net, loaded.x_test, loaded.y_test)
    return net.train(), loaded.x_test[right][:12], loaded.y_test[right][:12]


@pytest.mark.parametrize("attack", attacks.ATTACKS)
def test_what_misleads_does(trained, attack):
    net, x, y = trained
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    places, moved = attacks.misleading(net, x, y, attack, seed=1)
    assert torch.equal(state[0], torch.get_rng_state()) and (state[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert net.training and len(places) == len(moved)
    assert ((moved >= 0) & (moved <= 1)).all()
    assert not training.correct(net, moved, y[places]).any()
    if distance := attacks.ATTACKS[attack].distance:
        assert ((moved - x[places]).abs() <= distance + 1e-6).all()
    else:  # it goes as far as it must
        assert len(places) > 0
    again = attacks.misleading(net, x, y, attack, seed=1)
    assert torch.equal(places, again[0]) and torch.equal(moved, again[1])


def test_every_attack_of_the_paper_is_made_or_named_as_a_gap():
    from nssutils.companion.fragments import peer_table

    printed = set(peer_table("nnslicer_table4")["attack"]) - {"Average"}
    assert len(printed) == 17
    assert printed == (set(attacks.ATTACKS) - {"SaltAndPepper"}) | set(attacks.GAPS)


def test_wrong_use_is_an_error_by_name(trained, monkeypatch):
    net, x, y = trained
    with pytest.raises(attacks.AttackError, match=r"unknown attack 'FGSM_9'.*Did you mean 'FGSM_"):
        attacks.misleading(net, x, y, "FGSM_9")
    with pytest.raises(
        attacks.AttackError, match=r"DeepFoolL2 \(foolbox's L2DeepFoolAttack\) cannot be made on 2 images"
    ):
        attacks.misleading(net, torch.rand(2, 1, 5, 5), y[:2], "DeepFoolL2")
    with pytest.raises(attacks.AttackError, match="all 1 images are taken for class"):
        attacks.misleading(net, x[:1], y[:1], "Boundary")
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "foolbox":
            raise ImportError("No module named 'foolbox'")
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(attacks.AttackError, match=r"needs foolbox, which is not installed.*pip install 'nssutils"):
        attacks.misleading(net, x, y, "FGSM_2")
