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
    assert intervals.image_half_width(first, second) == pytest.approx((high - low) / 2, rel=0.08)
    assert intervals.image_half_width(first, first) == 0


def test_the_interval_over_seeds_is_students():
    values = [0.5, 0.6, 0.9, 0.65]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert intervals.half_width(values) == pytest.approx((high - low) / 2)
    assert np.isnan(intervals.half_width([0.5, 0.6]))


def test_one_or_two_networks_tell_nothing():
    assert intervals.told_apart([0.5]) == intervals.told_apart([0.5, 0.5], [0.0, 0.0]) == 0
    assert intervals.told_apart([0.5, 0.5, 0.5]) == 1 and intervals.told_apart([-0.5] * 3) == -1


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8), st.floats(0, 0.5))
def test_a_difference_counts_only_beyond_both_errors(changes, half):
    told = intervals.told_apart(changes, [half] * len(changes))
    mean = float(np.mean(changes))
    beyond = abs(mean) > intervals.half_width(changes) and abs(mean) > half / np.sqrt(len(changes))
    assert told == (int(np.sign(mean)) if beyond else 0)
    assert intervals.told_apart([-change for change in changes], [half] * len(changes)) == -told
