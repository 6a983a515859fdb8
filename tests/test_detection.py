"""Features, detectors and the attack that none has seen."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from nssutils import data, detection, models, neurons, nnslicer, readaptation, settings, training

SETTING = settings.get("mlp-mnist", "smoke")


@pytest.fixture(scope="module")
def trained():
    loaded = data.load(SETTING)
    net = models.build(SETTING)
    training.fit(net, loaded.x_train, loaded.y_train, epochs=5, batch_size=64, lr=3e-3)
    net.zero_grad()
    return net, loaded


def test_the_unseen_attack_stays_within_its_distance_and_fools(trained):
    net, loaded = trained
    x, y = loaded.x_test[:60], loaded.y_test[:60]
    moved = detection.pgd_l2(net, x, y, 0.1, batch_size=25)
    assert moved.shape == x.shape and 0 <= moved.min() and moved.max() <= 1 and not moved.requires_grad
    assert ((moved - x).flatten(1).norm(dim=1) <= 0.1 * 28 * (1 + 1e-4)).all()
    assert training.evaluate(net, moved, y) < training.evaluate(net, x, y) - 0.3
    assert all(p.grad is None for p in net.parameters())
    once = detection.pgd_l2(net, x, y, 0.01, steps=1)  # a quarter of the distance, along the gradient
    images = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(net(images), y), images)
    expected = (x + 0.07 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(0, 1)
    torch.testing.assert_close(once, expected)


def test_images_that_an_attack_would_cut_are_refused():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    x, y = 4 * torch.rand(5, 3, 2, 2) - 2, torch.arange(5) % 3
    for attack in (readaptation.fgsm, readaptation.pgd, detection.pgd_l2):
        with pytest.raises(readaptation.AttackError, match=r"images from -.* given, expected \[0, 1\]"):
            attack(net, x, y, 0.01)


def test_features_are_what_they_say(trained):
    net, loaded = trained
    x = loaded.x_test[:5]
    means = nnslicer.profile(net, loaded.x_train)
    flow, maps, confidence = (detection.features(net, x, means, 0.5, kind) for kind in detection.FEATURES)
    assert flow.shape == maps.shape == (5, sum(layer.width for layer in neurons.layers(net).values()))
    predicted = training.logits(net, x).argmax(1)
    found = nnslicer.contributions(net, x, predicted, means, 0.5)
    assert torch.equal(flow, torch.cat([found.neurons["0"], found.neurons["2"]], 1))
    torch.testing.assert_close(maps[:, :64], net[:3](x).detach())
    torch.testing.assert_close(confidence[:, 0], training.logits(net, x).softmax(1).amax(1))
    with pytest.raises(detection.DetectionError, match="'pixels' given"):
        detection.features(net, x, means, 0.5, "pixels")


def test_a_detector_learns_what_can_be_told_and_is_judged_as_scikit_learn_does():
    generator = torch.Generator().manual_seed(0)
    clean, moved = torch.randn(80, 3, generator=generator), torch.randn(80, 3, generator=generator) + 2
    model = detection.detector(clean[:40], moved[:40])
    judged = detection.judge(model, clean[40:], moved[40:])
    said = model.predict_proba(torch.cat([clean[40:], moved[40:]]).numpy())[:, 1]
    assert judged["auc"] == roc_auc_score([0] * 40 + [1] * 40, said) > 0.95
    assert judged["recall"] == (said[40:] > 0.5).mean()
    assert judged["precision"] == (said[40:] > 0.5).sum() / (said > 0.5).sum()
    again = detection.judge(detection.detector(clean[:40], moved[:40]), clean[40:], moved[40:])
    assert again == judged
    with pytest.raises(detection.DetectionError, match="0 adversarial images"):
        detection.detector(clean, moved[:0])
