"""NNSlicer's slices of single inputs on a thin VGG-16 (width 1/8, 32x32): the vectorised form against the literal one
of the tests, one synapse at a time, on the same network, trained for a moment on scikit-learn's digits.

Target: 100 inputs at least 100 times faster. The literal form slices a few of them, its time an input is compared.
"""

import sys
import time
from pathlib import Path

import torch
from table import row

from nssutils import data, graphs, models, nnslicer, settings, training

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import literal  # the tests' own

TARGET, INPUTS, LITERAL = 100, 100, 2

torch.manual_seed(0)
setting = settings.get("vgg16-cifar10", "smoke")
loaded = data.load(setting)
net = models.build(setting)
training.fit(net, loaded.x_train, loaded.y_train, epochs=2, batch_size=64, lr=3e-3, label="train")
x = loaded.x_test[:INPUTS]
means, target = nnslicer.profile(net, loaded.x_train[:500]), training.logits(net, x).argmax(1)
traced = graphs.trace(net)
mean_of = {
    traced.get_submodule(node.target): (means[node.all_input_nodes[0].name], means[node.name])
    for node in traced.graph.nodes
    if node.op == "call_module"
}

for theta in (0.0, nnslicer.THETA):
    start = time.perf_counter()
    found = nnslicer.contributions(net, x, target, means, theta)
    fast = (time.perf_counter() - start) / INPUTS
    start = time.perf_counter()
    agree = 0
    for i in range(LITERAL):
        _, at_synapses = literal.nnslicer(net, x[i], int(target[i]), mean_of, theta)
        # In float32 a sum may fall on either side of its limit, by the order in which it was added up.
        pairs = [(found.synapses[name][i], at_synapses[net.get_submodule(name)]) for name in found.synapses]
        agree += sum(int((mine.sign() == theirs.sign()).sum()) for mine, theirs in pairs)
    slow = (time.perf_counter() - start) / LITERAL
    same = agree / LITERAL / sum(value[0].numel() for value in found.synapses.values())
    print(f"theta {theta}: {1000 * fast:.1f} ms an input, literal {slow:.1f} s: {slow / fast:.0f} times faster; "
          f"signs of {same:.2%} of the synapses agree")  # fmt: skip
    row(
        f"NNSlicer of one input, thin VGG-16, theta {theta}: against Algorithm 1 synapse by synapse",
        slow / fast,
        TARGET,
    )
