"""What networks cost, and that extracted ones go into other hands whole: as safetensors, as ONNX."""

import copy

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_restructuring import Residual, lively, masked_logits, random_masks
from torch import nn

from nssutils import NssError, costs, models, neurons, restructuring, settings


def test_flops_of_a_linear_layer():
    assert costs.flops(nn.Linear(7, 5), torch.rand(3, 7)) == 2 * 3 * 7 * 5


def test_flops_of_a_convolution():
    net = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    assert costs.flops(net, torch.rand(5, 4, 8, 10)) == 2 * 5 * 6 * (4 * 5) * (4 * 3 * 3)


def test_flops_are_counted_in_eval_mode_and_leave_the_modes():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net[1].eval()  # apart from the others, so that one mode for all would show
    costs.flops(net, torch.rand(2, 3, 5, 5))
    assert [module.training for module in net.modules()] == [True, True, False, True]
    assert net[1].num_batches_tracked == 0


def test_masked_networks_cost_what_whole_ones_do_and_extracted_ones_less():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    masks, x = {"0": torch.arange(8) < 3}, torch.rand(1, 6)
    with neurons.masked(net, masks):
        assert costs.flops(net, x) == 2 * (6 * 8 + 8 * 2)
    assert costs.flops(restructuring.extract(net, masks), x) == 2 * (6 * 3 + 3 * 2)


def test_size_is_that_of_the_file(tmp_path):
    net = models.build(settings.get("vgg16-cifar10", "smoke")).to(memory_format=torch.channels_last)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, tmp_path / "net.safetensors")
    assert costs.size(net) == (tmp_path / "net.safetensors").stat().st_size


def test_a_tensor_of_two_names_counts_once():
    net, tied = (nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Linear(6, 6, bias=False)) for _ in range(2))
    tied[2].weight = tied[0].weight
    assert costs.size(net) - costs.size(tied) >= 4 * 36


def test_latency_times_networks_in_turns_and_without_gradients():
    calls = []

    def noted(name):
        return lambda x: calls.append((name, torch.is_grad_enabled()))

    times = costs.latency({"a": noted("a"), "b": noted("b")}, torch.rand(1), repeats=2)
    assert calls == [("a", False), ("b", False)] * (costs.WARM_UP + 2)
    assert list(times) == ["a", "b"]


def test_latency_of_whole_masked_and_extracted_networks():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    masks, twin = {"0": torch.arange(8) < 3}, copy.deepcopy(net)
    with neurons.masked(twin, masks):
        nets = {"whole": net, "masked": twin, "extracted": restructuring.extract(net, masks)}
        times = costs.latency(nets, torch.rand(4, 6), repeats=3)
    assert list(times) == list(nets) and all(seconds > 0 for seconds in times.values())


@pytest.fixture(scope="module", params=settings.NAMES)
def extracted(request) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Of each setting: an extracted network in float32, images (3, C, H, W) and the masked network's logits."""
    setting = settings.get(request.param, "smoke")
    torch.manual_seed(0)
    net = lively(models.build(setting)).float()
    masks = random_masks(net)
    x = torch.rand(3, setting.channels, setting.image_size, setting.image_size)
    return restructuring.extract(net, masks), x, masked_logits(net, masks, x)


@torch.no_grad()
def test_state_dict_of_an_extracted_network_survives_safetensors(extracted, tmp_path):
    small, x, _ = extracted
    save_file(small.state_dict(), tmp_path / "small.safetensors")
    other = copy.deepcopy(small)
    for tensor in other.state_dict().values():
        tensor.zero_()
    other.load_state_dict(load_file(tmp_path / "small.safetensors"))
    assert torch.equal(other(x), small(x))


def assert_onnxruntime_gives(expected: torch.Tensor, net: nn.Module, x: torch.Tensor) -> None:
    exported = torch.onnx.export(net, (x,), verbose=False).model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    logits = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)


def test_onnxruntime_gives_the_masked_logits_of_an_extracted_network(extracted):
    small, x, expected = extracted
    assert_onnxruntime_gives(expected, small, x)


def test_onnxruntime_gives_the_masked_logits_where_residual_branches_keep_different_channels():
    net = lively(Residual()).float()
    masks = {name: torch.arange(8) % 3 != i for i, name in enumerate(neurons.layers(net))}
    x = torch.rand(2, 3, 6, 6)
    small = restructuring.extract(net, masks)
    assert {"index_add", "index_select"} <= {getattr(node.target, "__name__", "") for node in small.graph.nodes}
    assert_onnxruntime_gives(masked_logits(net, masks, x), small, x)


class Told(nn.Linear):
    """A layer that keeps more than tensors."""

    def get_extra_state(self):
        return {"made": "here"}

    def set_extra_state(self, state):
        pass


def test_what_is_no_tensor_takes_no_space_and_is_not_saved(tmp_path):
    net = nn.Sequential(Told(4, 3), nn.ReLU(), nn.Linear(3, 2))
    plain = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert costs.size(net) == costs.size(plain)
    with pytest.raises(NssError, match=r"'0\._extra_state' is a dict, no tensor"):
        restructuring.save(net, tmp_path / "told")
