"""Detection of adversarial inputs from what the network does with them, NNSlicer's first application."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from nssutils import bars, neurons, nnslicer, readaptation, training
from nssutils.errors import NssError

if TYPE_CHECKING:  # seconds, for a few who need them
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

FEATURES = ("nnslicer", "feature maps", "confidence")
TREES = 200


class DetectionError(NssError):
    """Features or labels that no detector can be trained or judged on."""


def pgd_l2(
    net: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int = 10, batch_size: int = 250, reduced: bool = False
) -> Tensor:
    """PGD within a Euclidean distance (Madry et al. 2017): steps of eps / 4 along the gradient itself, not its sign,
    so that few pixels change much. eps is the root mean square of the pixels' changes, to compare with other attacks;
    x: images (N, C, H, W), or (N, F), in [0, 1]. As readaptation.fgsm otherwise.
    """
    radius = eps * x[0].numel() ** 0.5

    def attacked(images: Tensor, labels: Tensor) -> Tensor:
        moved = images
        for _ in range(steps):
            along = readaptation.gradient(net, moved, labels, reduced)
            # A gradient of zero stays one.
            length = along.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, *[1] * (x.dim() - 1))
            change = moved + radius / 4 * along / length - images
            moved = (images + torch.renorm(change, 2, 0, radius)).clamp(0, 1)
        return moved

    return readaptation.by_batch(net, x, y, eps, batch_size, attacked)


def features(net: nn.Module, x: Tensor, means: nnslicer.Profile, theta: float, kind: str) -> Tensor:
    """What a detector sees of images x: float (N, features), on the CPU.

    nnslicer: the contributions of every hidden neuron to the predicted class; feature maps: the values of the same
    neurons (means over space); confidence: the highest softmax probability.
    """
    if kind not in FEATURES:
        raise DetectionError(f"features {kind!r} given, expected one of {', '.join(FEATURES)}.")
    logits = training.logits(net, x)
    if kind == "confidence":
        return F.softmax(logits, 1).amax(1, keepdim=True).cpu()
    if kind == "feature maps":
        return torch.cat([value.squeeze(2) for value in neurons.record(net, x).values()], 1).cpu()
    found = nnslicer.contributions(net, x, logits.argmax(1), means, theta, synapses=False)
    return torch.cat(list(found.neurons.values()), 1).cpu()


def detector(clean: Tensor, adversarial: Tensor, seed: int = 0) -> "RandomForestClassifier":
    """A random forest that tells features of adversarial images from those of clean ones, both (N, features).

    A forest, since what a contribution means depends on the class that is predicted: trees take such turns by
    themselves. It is the same for every kind of features.
    """
    from sklearn.ensemble import RandomForestClassifier

    if not len(clean) or not len(adversarial):
        raise DetectionError(
            f"{len(clean)} clean and {len(adversarial)} adversarial images given, expected some of each: the attacks "
            "may be too weak to fool the network."
        )
    seen = torch.cat([clean, adversarial]).numpy()
    truth = [0] * len(clean) + [1] * len(adversarial)
    return RandomForestClassifier(TREES, class_weight="balanced", random_state=seed, n_jobs=1).fit(seen, truth)


def judge(model: "RandomForestClassifier", clean: Tensor, adversarial: Tensor) -> Mapping[str, float]:
    """Precision and recall of "adversarial" at probability 1/2, and the area under the ROC curve."""
    from sklearn.metrics import precision_score, recall_score, roc_auc_score

    seen, truth = torch.cat([clean, adversarial]).numpy(), [0] * len(clean) + [1] * len(adversarial)
    probability = model.predict_proba(seen)[:, 1]
    return {
        "precision": float(precision_score(truth, probability > 0.5, zero_division=0.0)),
        "recall": float(recall_score(truth, probability > 0.5)),
        "auc": float(roc_auc_score(truth, probability)),
    }


def reactions(
    net: nn.Module, x: Tensor, means: nnslicer.Profile, theta: float, batch_size: int = 100
) -> dict[str, np.ndarray | sparse.csc_matrix]:  # fmt: skip
    """What a network does with images x, in five ways, each (N, features).

    synapses: the contributions of all synapses to the predicted class, as NNSlicer's paper has it (Section 6.1), of
    which most are zero; inner synapses: the same without those of the last layer, which tell the prediction itself,
    since only those of the predicted output contribute; synapses, all outputs: their contributions to every output
    alike; neurons: the contributions of all hidden neurons to the predicted class; feature map: the values of the same
    neurons (means over space).
    """
    rows: dict[str, list] = {"synapses": [], "inner synapses": [], "synapses, all outputs": [], "neurons": []}
    for images in bars.over(x.split(batch_size), "features"):
        logits = training.logits(net, images)
        found = nnslicer.contributions(net, images, logits.argmax(1), means, theta, batch_size=batch_size)
        rows["synapses"].append(_flat(list(found.synapses.values())))
        rows["inner synapses"].append(_flat(list(found.synapses.values())[:-1]))
        rows["neurons"].append(torch.cat(list(found.neurons.values()), 1).cpu().numpy())
        found = nnslicer.contributions(net, images, torch.ones_like(logits), means, theta, batch_size=batch_size)
        rows["synapses, all outputs"].append(_flat(list(found.synapses.values())))
    values = torch.cat([value.squeeze(2) for value in neurons.record(net, x).values()], 1)
    whole = {kind: sparse.vstack(parts, "csr") for kind, parts in rows.items() if kind != "neurons"}
    return whole | {"neurons": np.concatenate(rows["neurons"]), "feature map": values.cpu().numpy()}


def _flat(layers: list[Tensor]) -> sparse.csr_matrix:
    return sparse.csr_matrix(torch.cat([each.flatten(1).cpu() for each in layers], 1).numpy())


def class_tree(seen, y: Tensor, seed: int = 0) -> "DecisionTreeClassifier":
    """A decision tree that tells the class y (N,) from what the network does with normal images, (N, features)."""
    from sklearn.tree import DecisionTreeClassifier

    seen = seen.tocsc() if sparse.issparse(seen) else seen
    return DecisionTreeClassifier(random_state=seed).fit(seen, y.cpu().numpy())


def balanced(adversarial: np.ndarray, normal: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of a detector by which of the adversarial and of the normal images it calls adversarial,
    both bool (N,)."""
    caught, wrong = int(adversarial.sum()), int(normal.sum())
    recall = caught / len(adversarial)
    precision = caught / (caught + wrong) if caught + wrong else 0.0
    return {
        "precision": precision, "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if caught else 0.0,
    }  # fmt: skip
