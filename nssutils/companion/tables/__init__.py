"""Each chapter's tables: the paper's value, ours with its 95% interval, and where ours is from."""

from nssutils.companion.tables.deeparc import (
    deeparc_base,
    deeparc_edited,
    deeparc_modularity,
    deeparc_repair,
    deeparc_search,
)
from nssutils.companion.tables.furthest import furthest
from nssutils.companion.tables.nnslicer import nnslicer_base, nnslicer_detection, nnslicer_seconds
from nssutils.companion.tables.nnslicer_applications import (
    nnslicer_protected,
    nnslicer_pruned,
    nnslicer_readings,
    nnslicer_rules,
    nnslicer_table4,
    nnslicer_trees,
    nnslicer_tuned,
    rules_against_weight,
)
from nssutils.companion.tables.pilot import falls, table1, table2, table3
from nssutils.companion.tables.rq1 import (
    at_rate,
    rq1_base,
    rq1_deeparc,
    rq1_layers,
    rq1_leads,
    rq1_rates,
    rq1_seconds,
    rq1_sentences,
)
from nssutils.companion.tables.rq2 import (
    nearest_tau,
    removed_first,
    rq2_matched,
    rq2_savings,
    rq2_summary,
    rq2_taus,
    slices,
    table4,
)
from nssutils.companion.tables.rq3 import rq3_attacks, rq3_beyond, rq3_effort, rq3_summary, table5
from nssutils.companion.tables.rq4 import nearer, rq4_costs, rq4_fairness, rq4_summary, table6
from nssutils.companion.tables.sensitivity import (
    leads,
    mean_effects,
    named,
    nearest_reading,
    of_all_networks,
    sensitivity_combined,
    sensitivity_distances,
    sensitivity_effects,
    sensitivity_leads,
)
from nssutils.companion.tables.sensitivity_pilots import nearer_cells, sensitivity_pilots
from nssutils.companion.tables.sensitivity_tasks import mixes, repairs_by_eps, sensitivity_eps, sensitivity_mix
from nssutils.companion.tables.your_model import your_extended, your_repaired, your_shrunk

__all__ = [
    "at_rate", "deeparc_base", "deeparc_edited", "deeparc_modularity", "deeparc_repair", "deeparc_search",
    "falls", "furthest", "leads", "mean_effects", "mixes", "named", "nearer", "nearer_cells", "nearest_reading",
    "nearest_tau", "nnslicer_base", "nnslicer_detection", "nnslicer_protected", "nnslicer_pruned",
    "nnslicer_readings", "nnslicer_rules", "nnslicer_seconds", "nnslicer_table4", "nnslicer_trees", "nnslicer_tuned",
    "of_all_networks", "removed_first", "repairs_by_eps", "rq1_base", "rq1_deeparc", "rq1_layers", "rq1_leads",
    "rq1_rates", "rq1_seconds", "rq1_sentences", "rq2_matched", "rq2_savings", "rq2_summary", "rq2_taus", "rq3_attacks",
    "rq3_beyond", "rq3_effort", "rq3_summary", "rq4_costs", "rq4_fairness", "rq4_summary", "rules_against_weight",
    "sensitivity_combined", "sensitivity_distances", "sensitivity_effects", "sensitivity_eps", "sensitivity_leads",
    "sensitivity_mix", "sensitivity_pilots", "slices", "table1", "table2", "table3", "table4", "table5", "table6",
    "your_extended", "your_repaired", "your_shrunk",
]  # fmt: skip
