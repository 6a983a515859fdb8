"""Networks that others wrote, with random weights: which can be traced, sliced, explained by DeepLIFT and extracted
with equal logits; and how many torch-pruning prunes (it promises no equality).

torchvision's classifiers under 200 million parameters, and one network of each of 59 families of timm: the smallest
found of each. Needs the extra `zoo` (timm, torch-pruning). Half of each layer's neurons, drawn at random, are masked;
"equal" is a relative error below 1e-3 in float32, "wrong" anything above. With names of networks as arguments, only
these. All in one process have not come to an end on 23 GiB of memory: ask for some at a time.
"""

import copy
import signal
import sys
import time
import warnings

import torch
import torchvision
from torch import nn

from nssutils import NssError, contribution, graphs, neurons, restructuring

try:
    import timm
    import torch_pruning
except ImportError as error:
    timm, lacking = None, error.name

TIMM = """mobilevit_xxs edgenext_xx_small mobilenetv3_small_050 ese_vovnet19b_slim_dw repghostnet_050 tinynet_d
efficientvit_m0 ghostnet_050 regnetx_002 cspnext_tiny starnet_s1 xcit_nano_12_p8_224 cs3darknet_focus_s efficientvit_b0
swiftformer_xs efficientformerv2_s0 pvt_v2_b0 convnext_atto_rms fasternet_t0 lcnetv2_small inception_next_atto
rexnet_100 mobileone_s1 hardcorenas_b repvit_m1 vit_tiny_patch16_dinov3_qkvb coat_tiny convit_tiny deit_tiny_patch16_224
vit_tiny_patch16_224 hgnetv2_b0 shvit_s1 vit_tiny_r_s16_p8_224 cpubone_nano iformer_s efficientvim_m1 crossvit_tiny_240
mambaout_femto maxvit_pico_rw_256 densenet121 nf_regnet_b0 dpn48b fastvit_s12 visformer_tiny resnest14d pit_xs_224
eca_halonext26ts csatv2 resnetv2_18 legacy_seresnet18 cait_xxs24_224 skresnet18 gcvit_xxtiny tiny_vit_5m_224
efficientformer_l1 hrnet_w18_small lowformer_b0 dla34 resnet26""".split()
PATIENCE = 60  # on MaxViT it does not come to an end
COLUMNS = (
    "networks", "traced", "sliced", "DeepLIFT", "refused by name", "equal", "smaller", "for use alone", "wrong",
    "torch-pruning",
)  # fmt: skip


def networks(asked: list[str]):
    """(collection, name, how to make it, shape of a sample)."""
    for name in torchvision.models.list_models(module=torchvision.models):
        if not asked or name in asked:
            fast = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            yield "torchvision", name, lambda n=name, f=fast: torchvision.models.get_model(n, weights=None, **f), 224
    for name in TIMM:
        if not asked or name in asked:
            size = timm.get_pretrained_cfg(name).input_size[-1]
            yield "timm", name, lambda n=name: timm.create_model(n, pretrained=False), size


def lively(net: nn.Module) -> nn.Module:
    """In eval mode, with batch normalisation that shifts: dropped channels do not stay zero behind it. A head that
    starts at zero, as ViT's, would make all logits equal."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, 0, 0.3)
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight)
    return net.eval()


def looked_at(net: nn.Module, x: torch.Tensor) -> dict[str, bool]:
    found = dict.fromkeys(COLUMNS, False) | {"networks": True}
    traced = graphs.trace(net, x)
    found["traced"] = True
    masks = {name: torch.rand(layer.width) < 0.5 for name, layer in neurons.layers_of(traced).items()}
    for mask in masks.values():
        mask[0] = True
    with torch.no_grad(), neurons.masked(traced, masks):
        wanted = traced(x)
    found["sliced"] = bool(wanted.isfinite().all())
    try:
        small = restructuring.extract(net, masks, x=x, check=False)
    except NssError:  # it would be trained otherwise than the network
        small = restructuring.extract(net, masks, x=x, check=False, fold=True)
        found["for use alone"] = True
    with torch.no_grad():
        off = ((small(x) - wanted).abs().max() / wanted.abs().max()).item()
    found["equal"], found["wrong"] = off < 1e-3, not off < 1e-3
    found["smaller"] = sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    try:
        contribution.deeplift(net, x, torch.arange(len(x)))
        found["DeepLIFT"] = True
    except NssError:
        found["refused by name"] = True
    return found


def give_up(*_):
    raise TimeoutError


def torch_pruned(net: nn.Module, x: torch.Tensor) -> bool:
    """Whether torch-pruning, in PATIENCE seconds, takes half of the channels and leaves a network that runs and is
    smaller."""
    before, last = sum(p.numel() for p in net.parameters()), [m for m in net.modules() if isinstance(m, nn.Linear)][-1:]
    importance = torch_pruning.importance.MagnitudeImportance()
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        pruner = torch_pruning.pruner.MagnitudePruner(net, x, importance, pruning_ratio=0.5, ignored_layers=last)
        pruner.step()
        net(x)
    except Exception:  # of whatever kind: a network that it cannot prune
        return False
    finally:
        signal.alarm(0)
    return sum(p.numel() for p in net.parameters()) < before


def main(asked: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    totals: dict[str, dict[str, int]] = {}
    for collection, name, make, size in networks(asked):
        net = lively(make())
        if sum(p.numel() for p in net.parameters()) >= 200e6:
            continue
        x, began = torch.rand(2, 3, size, size), time.perf_counter()
        try:
            found = looked_at(net, x)
        except NssError as error:
            found = dict.fromkeys(COLUMNS, False) | {"networks": True, "refused by name": True}
            print(f"{name}: {error}")
        seconds = time.perf_counter() - began
        found["torch-pruning"] = torch_pruned(copy.deepcopy(net), x)
        row = totals.setdefault(collection, dict.fromkeys(COLUMNS, 0))
        for column, value in found.items():
            row[column] += value
        missed = ", ".join(c for c in COLUMNS if found[c] != (c not in ("wrong", "refused by name", "for use alone")))
        print(f"{collection} {name}: {seconds:.1f} s{'; ' + missed if missed else ''}", flush=True)
    print("\n| |", " | ".join(COLUMNS), "|\n|:---|" + "---:|" * len(COLUMNS))
    for collection, row in totals.items():
        print(f"| {collection} |", " | ".join(str(row[column]) for column in COLUMNS), "|")


if __name__ == "__main__":
    if timm is None:
        print(f"bench/zoo.py is left out: it needs {lacking}. pip install timm torch-pruning (the extra `zoo`)")
        sys.exit()
    main(sys.argv[1:])
