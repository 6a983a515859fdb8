"""Settings are strict: what is not known is refused, with what is."""

import pytest

from nssutils import settings


def test_every_setting_exists_at_every_preset():
    for preset in settings.PRESETS:
        for name in settings.KNOWN:
            setting = settings.get(name, preset)
            assert (setting.name, setting.preset) == (name, preset)
            assert (setting.dataset == "digits") == (preset == "smoke")
    assert len(settings.get("mlp-mnist").seeds) == 5 and settings.get("vgg16-cifar10").width == 1.0


def test_deeparc_s_networks_differ_by_depth_and_are_trained_in_fp32():
    deep = [settings.get(f"resnet{depth}-cifar10") for depth in (14, 44, 86, 110)]
    assert {one.name for one in deep} <= set(settings.PEERS)
    assert len({(one.epochs, one.lr, one.image_size, one.width) for one in deep}) == 1
    for preset in settings.PRESETS:
        assert not any(settings.get(one.name, preset).reduced for one in deep)
    assert all(settings.get(one.name, "quick").image_size == 16 for one in deep)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: settings.get("mlp-mnst"), "unknown setting 'mlp-mnst'.*Did you mean 'mlp-mnist'"),
        (lambda: settings.get("mlp-mnist", "papr"), "unknown preset 'papr'.*Did you mean 'paper'"),
        (lambda: settings.get("mlp-mnist", widht=1.0), "unknown field 'widht'.*Did you mean 'width'"),
        (lambda: settings.get("mlp-mnist", width=1), "field 'width' got 1 of type int, expected float"),
        (lambda: settings.get("mlp-mnist", epochs=True), "expected int"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(settings.SettingError, match=message) as caught:
        call()
    assert isinstance(caught.value, KeyError)


def test_a_setting_cannot_be_changed():
    with pytest.raises(AttributeError):
        settings.get("mlp-mnist").width = 2.0


def test_bf16_is_used_where_the_machine_multiplies_it_and_at_smoke(monkeypatch):
    for able in (True, False):
        monkeypatch.setattr(settings, "multiplies_bf16", lambda able=able: able)
        assert settings.get("vgg16-cifar10", "overnight").reduced is able
        assert settings.get("vgg16-cifar10", "overnight").reduced_evaluation is able
        assert settings.get("vgg16-cifar10", "paper").reduced is able
        assert settings.get("alexnet-cifar10", "smoke").reduced
        assert not settings.get("mlp-mnist").reduced
        assert settings.get("vgg16-cifar10", "overnight", reduced=not able).reduced is not able
