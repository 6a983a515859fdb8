"""Networks that others wrote: a dozen of torchvision's, and of timm's where it is installed (bench/zoo.py has all)."""

import sys

import pytest
import torch

from nssutils import files

sys.path.insert(0, str(files.ROOT / "bench"))
import zoo

TORCHVISION = """alexnet convnext_tiny densenet121 efficientnet_b0 googlenet mnasnet0_5 mobilenet_v3_small resnet18
regnet_x_400mf shufflenet_v2_x0_5 squeezenet1_1 swin_t vit_b_32""".split()
TIMM = """deit_tiny_patch16_224 ghostnet_050 nf_regnet_b0 coat_tiny mobileone_s1 rexnet_100 resnest14d hrnet_w18_small
pvt_v2_b0 cait_xxs24_224 convnext_atto_rms repvit_m1""".split()


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION + TIMM)
def test_what_others_wrote_is_sliced_and_extracted_with_equal_logits(name):
    if name in TIMM:
        pytest.importorskip("timm", reason="timm is in the extra `zoo`")
    torch.manual_seed(0)
    _, _, make, size = next(zoo.networks([name]))
    net = zoo.lively(make())
    found = zoo.looked_at(net, torch.rand(2, 3, size, size))
    assert found["sliced"] and found["equal"] and found["smaller"] and not found["wrong"]
    assert name in TIMM or found["for use alone"] == (name == "googlenet")  # whose auxiliary outputs eval never calls
    assert found["DeepLIFT"] or found["refused by name"]
