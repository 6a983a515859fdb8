"""What can be told apart, and what cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nssutils.companion import intervals


def test_the_closed_form_is_what_a_paired_bootstrap_gives():
    rng = np.random.default_rng(0)
    first = rng.random(2000) < 0.9
    second = np.where(rng.random(2000) < 0.1, rng.random(2000) < 0.5, first)
    change = first.astype(float) - second
    means = [change[rng.integers(0, 2000, 2000)].mean() for _ in range(2000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert intervals.image_half_width(change) == pytest.approx((high - low) / 2, rel=0.08)
    assert intervals.image_half_width(np.zeros(9)) == 0


def test_the_interval_over_seeds_is_students():
    values = [0.5, 0.6, 0.9, 0.65]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert intervals.half_width(values) == pytest.approx((high - low) / 2)
    assert np.isnan(intervals.half_width([0.5, 0.6]))


def test_one_or_two_networks_tell_nothing():
    assert intervals.told_apart([0.5]) == intervals.told_apart([0.5, 0.5]) == 0
    assert intervals.told_apart([0.5, 0.5, 0.5]) == 1 and intervals.told_apart([-0.5] * 3) == -1


networks = st.lists(st.floats(-1, 1), min_size=3, max_size=8)
chances = st.lists(st.floats(0, 0.2), min_size=1, max_size=8)


@given(networks, st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_a_difference_counts_only_beyond_its_interval(changes, change):
    images = [np.array(change)] * len(changes)
    told, mean = intervals.told_apart(changes, images), float(np.mean(changes))
    over_images = intervals.image_half_width(np.array(change))
    half = np.hypot(intervals.half_width(changes), over_images)
    assert intervals.half_width(changes, images) == pytest.approx(half)
    assert told == (int(np.sign(mean)) if abs(mean) > intervals.half_width(changes, images) else 0)
    assert intervals.told_apart([-each for each in changes], images) == -told


def test_all_networks_share_the_images():
    """Each network's change is the same on the images, which one network more does not make more of."""
    change = np.random.default_rng(0).normal(0.5, 1, 400)
    few, many = (intervals.half_width([change.mean()] * n, [change] * n) for n in (3, 30))
    assert few == many == pytest.approx(intervals.image_half_width(change))


@given(networks)
def test_a_chance_is_that_of_students_test(changes):
    if np.std(changes) > 1e-6:
        assert intervals.p_value(changes) == pytest.approx(stats.ttest_1samp(changes, 0).pvalue, abs=1e-9)
    told = bool(intervals.told_apart(changes))
    assert told == (intervals.p_value(changes) < 0.05) or intervals.p_value(changes) == pytest.approx(0.05)
    assert intervals.p_value(changes[:2]) == 1


@given(chances)
def test_what_holds_together_is_holms(chances):
    """Against the definition by adjusted p-values."""
    order = np.argsort(chances, kind="stable")
    adjusted, highest = [0.0] * len(chances), 0.0
    for rank, at in enumerate(order):
        adjusted[at] = highest = max(highest, (len(chances) - rank) * chances[at])
    held = intervals.holding_together(chances)
    near = [each == pytest.approx(0.05) for each in adjusted]
    assert all(one == (each <= 0.05) or edge for one, each, edge in zip(held, adjusted, near, strict=True))
