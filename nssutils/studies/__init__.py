"""What each chapter measures for one setting and seed; nssutils.companion.store keeps it."""

from collections.abc import Callable

from nssutils.studies import (
    deeparc,
    explorer,
    method,
    nnslicer,
    nnslicer_detection,
    nnslicer_protection,
    nnslicer_pruning,
    nnslicer_rules,
    pilot,
    rq1,
    rq2,
    rq3,
    rq4,
    sensitivity,
    sensitivity_pilots,
    sensitivity_tasks,
    your_model,
)

# Chapter -> what measures it: called with setting, seed, loaded data and the chapter's readings, it gives tables.
STUDIES: dict[str, Callable] = {
    "pilot_global": pilot.measure_global,
    "pilot_categorywise": pilot.measure_categorywise,
    "rq1_slicing": rq1.measure,
    "rq2_restructuring": rq2.measure,
    "rq3_readaptation": rq3.measure,
    "rq4_incremental": rq4.measure,
    "nnslicer": nnslicer.measure,
    "nnslicer_detection": nnslicer_detection.measure,
    "nnslicer_pruning": nnslicer_pruning.measure,
    "nnslicer_protection": nnslicer_protection.measure,
    "nnslicer_rules": nnslicer_rules.measure,
    "deeparc": deeparc.measure,
    "sensitivity": sensitivity.measure,
    "sensitivity_tasks": sensitivity_tasks.measure,
    "sensitivity_pilots": sensitivity_pilots.measure,
    "method": method.measure,
    "explorer": explorer.measure,
    "your_model": your_model.measure,
}

# Those that find their attacks on the network of the setting's first seed, whichever is measured.
BY_THE_FIRST = ("rq3_readaptation", "deeparc", "sensitivity_tasks")
