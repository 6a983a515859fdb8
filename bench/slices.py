"""Accuracy of the slices of VGG-16 at full width: masked in fp32, as a mask is read, against the extracted network in
bf16 with channels_last and folded batch normalisation, as presets quick and overnight do it.

Targets: all slices of RQ1 at least 4 times faster; the change of accuracy is stated. Weights are the overnight
checkpoint's where NSS_DATA names the datasets, else random; some slices and images, drawn evenly, stand for all.
"""

import os
import time
from dataclasses import replace

import torch
from table import row

from nssutils import data, graphs, models, settings, slicing, training
from nssutils.studies import common, rq1, scores

SOME, IMAGES, TARGET = 12, 500, 4.0

torch.set_num_threads(training.THREADS)
setting = settings.get("vgg16-cifar10", "overnight" if os.environ.get("NSS_DATA") else "smoke", width=1.0)
loaded = data.load(setting)
if setting.preset == "overnight":
    net = training.trained(setting, 0, loaded)
    found = scores.of(net, *common.scored_images(setting, loaded))
else:
    torch.manual_seed(0)
    net = models.build(setting).eval()
    found = scores.of(net, loaded.x_train[:200], loaded.y_train[:200])
x, y = loaded.x_test[:IMAGES], loaded.y_test[:IMAGES]

slices = [found.semantic(metric, theta) for metric in found.orders for theta in common.THETAS]
for ranking in (found.whole(), found.orders):
    slices += [slicing.top_share(order, share) for order in ranking.values() for share in rq1.SHARES]
chosen = slices[:: len(slices) // SOME]
traced, exact, fast = (
    graphs.trace(net),
    replace(setting, reduced_evaluation=False),
    replace(setting, reduced_evaluation=True),
)
took, change = {"masked, fp32": 0.0, "extracted, fp32": 0.0, "extracted, bf16": 0.0}, []
for one in chosen:
    start = time.perf_counter()
    reference = common.masked_accuracy(traced, one, x, y)
    took["masked, fp32"] += time.perf_counter() - start
    for name, how in (("extracted, fp32", exact), ("extracted, bf16", fast)):
        start = time.perf_counter()
        accuracy = common.sliced_correct(net, one, x, y, how).double().mean().item()
        took[name] += time.perf_counter() - start
        if how is fast:
            change.append(accuracy - reference)
whole = [training.evaluate(net, x, y, reduced=reduced) for reduced in (False, True)]
print(f"{len(chosen)} of {len(slices)} slices, {IMAGES} test images, preset {setting.preset}:")
for name, seconds in took.items():
    print(f"  {name}: {seconds:.1f} s, {took['masked, fp32'] / seconds:.2f} times as fast as masked in fp32")
gain = took["masked, fp32"] / took["extracted, bf16"]
row("accuracy of RQ1's slices of VGG-16, extracted in bf16: against masked in fp32", gain, TARGET)
print(f"  largest change of a slice's accuracy: {100 * max(change, key=abs):+.2f} points; of the whole network's: "
      f"{100 * (whole[1] - whole[0]):+.2f}")  # fmt: skip
