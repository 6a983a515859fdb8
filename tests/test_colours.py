"""The palette: seen on both backgrounds, told apart by readers who see few colours; and drawings that take it up."""

from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nssutils.companion import colours

BACKGROUNDS = ("#ffffff", "#121212")  # the theme's, light and dark
# Machado, Oliveira and Fernandes (2009), severity 1.
SIGHTS = {
    "usual": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(light):
    white = XYZ @ np.clip(light, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(white > 0.008856, np.cbrt(white), 7.787 * white + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour, background):
    high, low = sorted((linear(each) @ XYZ[1] + 0.05 for each in (colour, background)), reverse=True)
    return high / low


@pytest.mark.parametrize("theme", [0, 1])
def test_methods_are_seen_and_told_apart(theme):
    shown = {name: colours.PALETTE[name][theme] for name in colours.METHODS}
    assert {
        name: contrast(each, BACKGROUNDS[theme])
        for name, each in shown.items()
        if contrast(each, BACKGROUNDS[theme]) < 3
    } == {}
    close = {
        (first, second, sight): distance
        for first, second in combinations(shown, 2)
        for sight, seen in SIGHTS.items()
        if (distance := np.linalg.norm(lab(seen @ linear(shown[first])) - lab(seen @ linear(shown[second])))) < 20
    }
    assert close == {}


@pytest.mark.parametrize("theme", [0, 1])
def test_a_symbol_is_read_on_its_verdict(theme):
    on = colours.PALETTE["on-verdict"][theme]
    assert min(contrast(on, colours.PALETTE[name][theme]) for name in ("reproduced", "contradicted")) >= 4.5
    ink = colours.PALETTE["ink"][theme]
    assert min(contrast(ink, colours.PALETTE[name][theme]) for name in ("direction", "untold")) >= 4.5


def test_the_stylesheet_has_the_dark_values():
    style = Path(__file__).resolve().parents[1] / "book" / "_static" / "custom.css"
    assert colours.css() in style.read_text()


def test_a_drawing_follows_the_theme_and_keeps_its_ids_to_itself():
    drawn, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], color=colours.SEMANTIC, marker="o")
    plt.close(drawn)
    svg = colours.svg(drawn, "mine")
    assert svg.startswith("<svg") and "<metadata" not in svg
    assert f"stroke: var(--figure-semantic, {colours.SEMANTIC})" in svg
    assert 'id="mine-' in svg and all(each.startswith("mine-") for each in svg.split('id="')[1:])
    assert "fill: #ffffff" not in svg  # no background
