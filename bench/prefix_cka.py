"""The CKA of every prefix in closed form against Algorithm 1 as printed, on the same activations.

Memory first, for a convolution with 64 x 32 x 32 features. Target: under 1 GiB beyond the activations. Then time, for
ten thetas, step 1, 256 samples. Target: at least 200 times faster at width 512, and growing with the width.
"""

import resource
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from literal import linear_scan
from table import row

from nssutils import similarity, slicing

THETAS = [round(0.90 + 0.01 * i, 2) for i in range(10)]


def activations(width: int) -> torch.Tensor:
    """(256, width, 1): half of the variation is shared among neurons, as in a trained layer."""
    torch.manual_seed(0)
    common = torch.randn(256, 16) @ torch.randn(16, width)
    return (common + 4 * torch.randn(256, width)).relu()[:, :, None]


def closed_form(acts: torch.Tensor, scores: torch.Tensor) -> list[torch.Tensor]:
    order = scores.argsort(descending=True, stable=True)
    curve = similarity.prefix_cka(acts, order)[None]
    return [slicing.at_theta({"a": curve}, {"a": order[None]}, theta).masks["a"] for theta in THETAS]


def seconds(function, *args, least: float = 0.5) -> tuple[float, object]:
    """Time of one call, the best of as many as fit into `least` seconds."""
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < least:
        begin = time.perf_counter()
        result = function(*args)
        best = min(best, time.perf_counter() - begin)
    return best, result


# First, while the process has had no higher peak: the activations are made in place, without temporary copies.
acts = torch.empty(256, 64, 32 * 32).uniform_()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
similarity.prefix_cka(acts, torch.arange(64))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(f"64 x 32 x 32 features, 256 samples: {peak / 2**20:.2f} GiB beyond the activations\n")
row("memory for the CKA curve of 64 × 32 × 32 features, 256 samples", peak / 2**20, 1, " GiB", least=False)

print("| width | literal (s) | closed form (s) | ratio |\n|---:|---:|---:|---:|")
for width in (128, 256, 512, 1024):
    acts, scores = activations(width), torch.rand(width)
    fast, masks = seconds(closed_form, acts, scores)
    begin = time.perf_counter()
    slow = [linear_scan(acts, scores, theta, 1, centred=True) for theta in THETAS]
    literal = time.perf_counter() - begin
    assert all(torch.equal(a, b) for a, b in zip(masks, slow, strict=True))
    if width == 512:
        row("CKA of every prefix, ten thetas, width 512: against Algorithm 1 as printed", literal / fast, 200)
    print(f"| {width} | {literal:.2f} | {fast:.4f} | {literal / fast:.0f} |")
