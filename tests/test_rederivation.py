"""MLP-MNIST's slices derived anew from the paper's equations, in numpy, with nothing of the package's arithmetic."""

import numpy as np

from nssutils import data, settings, slicing, training

METRICS = ("avg", "var", "ens", "deeplift", "taylor")
THETAS = [round(0.90 + 0.01 * i, 2) for i in range(10)]


def contributions(w, x, c):
    """{metric: [layer]} of class c's images x for weights w = [(W, b), ...]: Section 2.3 and the papers it cites."""
    (w0, b0), (w1, b1), (w2, b2) = w
    h0 = np.maximum(z0 := x @ w0.T + b0, 0)
    h1 = np.maximum(z1 := h0 @ w1.T + b1, 0)
    base1 = np.maximum(zb1 := (base0 := np.maximum(b0, 0)) @ w1.T + b1, 0)  # what a black image gives
    slope = (h1 - base1) / (z1 - zb1)  # the rescale rule: change of output over change of input
    out = {"avg": [h0.mean(0), h1.mean(0)], "var": [h0.var(0), h1.var(0)]}
    unit = [[(v - v.min()) / (v.max() - v.min()) for v in out[m]] for m in ("avg", "var")]
    out["ens"] = [(a + v) / 2 for a, v in zip(*unit, strict=True)]
    lifted = [((slope * w2[c]) @ w1 * (h0 - base0)).mean(0), (w2[c] * (h1 - base1)).mean(0)]
    out["deeplift"] = lifted
    logits = h1 @ w2.T + b2
    p = np.exp(logits - logits.max(1, keepdims=True))
    error = (p / p.sum(1, keepdims=True) - np.eye(len(b2))[c]) / len(x)  # of the mean cross-entropy
    d1 = error @ w2 * (z1 > 0)
    d0 = d1 @ w1 * (z0 > 0)
    out["taylor"] = [((w0 * (d0.T @ x)) ** 2).sum(1), ((w1 * (d1.T @ h0)) ** 2).sum(1)]
    return out, [h0, h1]


def cka(a, b):
    """Eqs. 1 and 2 of centred features a and b: similarity of the matrices of inner products."""
    m, n = a @ a.T, b @ b.T
    return (m * n).sum() / np.sqrt((m**2).sum() * (n**2).sum()) if (m**2).sum() else 0.0


def test_the_slices_follow_from_the_papers_equations():
    setting = settings.get("mlp-mnist", "smoke")
    loaded = data.load(setting)
    net = training.trained(setting, 0, loaded).double()
    x, y = loaded.x_train.double(), loaded.y_train
    w = [(net.get_submodule(n).weight.detach().numpy(), net.get_submodule(n).bias.detach().numpy()) for n in "024"]
    derived = {m: {t: {n: np.zeros(len(w[i][1]), bool) for i, n in enumerate("02")} for t in THETAS} for m in METRICS}
    for c in range(10):
        scores, layers = contributions(w, x[y == c].flatten(1).numpy(), c)
        for metric in METRICS:
            for name, score, acts in zip("02", scores[metric], layers, strict=True):
                order, acts = np.argsort(-score, kind="stable"), acts - acts.mean(0)
                curve = [cka(acts[:, order[: k + 1]], acts) for k in range(len(order))]
                for theta in THETAS:  # Algorithm 1: one more neuron until the layer is represented
                    derived[metric][theta][name][order[: np.argmax(np.array(curve) >= theta) + 1]] = True
    sizes = set()
    for metric in METRICS:
        found = slicing.semantic_slice(net, x, y, metric, THETAS)
        for theta in THETAS:
            for name, mask in found[theta].masks.items():
                assert np.array_equal(mask.numpy(), derived[metric][theta][name]), (metric, theta, name)
            sizes.add(sum(int(mask.sum()) for mask in found[theta].masks.values()))
    assert len(sizes) > 5  # the slices do differ
