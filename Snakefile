# The workflow: networks -> one job per (chapter, setting, seed) -> chapters -> the book.
#   make book | quick | paper, or with options of one's own: snakemake --config preset=quick --cores 4 --resources gpu=1
# What is done is read off the store of results, never off a file's date: nssutils/companion/workflow.py. Where it runs is a
# profile: profiles/default unless `--workflow-profile slurm` or `kubernetes` is given.

import os

from nssutils.companion import steps

PRESET = config.get("preset", "smoke")
JOBS, CHAPTERS, BEYOND, GPU = [], [], set(), 0
# A job on a cluster reads this file anew, while others run: it does what it is told, plans nothing and touches no stamp.
if workflow.is_main_process:
    import torch

    from nssutils.companion import chapters, pages, sweep
    from nssutils.companion import workflow as store
    from nssutils.studies import STUDIES

    SWEEP = config.get("sweep")  # a file of cells, written by `nss sweep`: no book is built
    ALONE = store.alone("a sweep" if SWEEP else f"preset {PRESET}")
    ALONE.__enter__()  # until this process ends
    if SWEEP:
        JOBS = sweep.read(SWEEP)
        store.mark(JOBS)
    else:
        JOBS = store.sync(PRESET)
        CHAPTERS = pages.chapters(chapters.BOOK)
        BEYOND = set(CHAPTERS) - set(STUDIES)
    GPU = int(torch.cuda.is_available())  # of this machine; a cluster's profile says what a job takes there
TODO = {
    (job.preset, job.chapter, job.setting, str(job.seed)): sorted(job.networks) for job in JOBS if not job.stamp.exists()
}
NSS = steps.command()
# On one machine, at smoke, a process starts as long as it then computes: there a network's cells share one, the longest
# first.
TOGETHER = PRESET == "smoke" and JOBS and not config.get("sweep") and workflow.resource_settings.nodes is None
HEAVY = ("vgg16-cifar10", "vgg19-imagenet10", "resnet101-cifar10")  # the longest last


def relative(path):
    return os.path.relpath(path)


def networks(job):
    """The networks that a job needs, if it has to be done."""
    seeds = TODO.get((job.preset, job.chapter, job.setting, job.seed), [])
    return [f"build/jobs/networks/{job.preset}/{job.setting}/seed{seed}" for seed in seeds]


resource_scopes:
    gpu="local",  # how many there are is a machine's; a cluster counts its own


wildcard_constraints:
    preset="(?!networks)[a-z]+",
    setting="[a-z0-9-]+",
    seed=r"\d+",
    readings=r"(,\w+=[^/]+)?",


rule pages:
    input:
        [f"build/jobs/executed/{chapter}" for chapter in CHAPTERS],
    output:
        "build/jobs/rendered",
    shell:
        f"{NSS} pages --preset {PRESET}"


rule sweep:
    input:
        [relative(job.stamp) for job in JOBS],


rule chapter:
    input:
        # A page that measures nothing itself shows what the others have.
        lambda one: [relative(job.stamp) for job in JOBS if one.chapter in (job.chapter, *BEYOND)],
    output:
        "build/jobs/executed/{chapter}",
    log:
        "build/jobs/executed/{chapter}.log",
    retries: 2  # a kernel may fail to start on a busy machine
    shell:
        f"{NSS} page {{wildcards.chapter}} --preset {PRESET} > {{log}} 2>&1"


if TOGETHER:
    for SETTING in dict.fromkeys(job.setting for job in JOBS):

        rule:
            name:
                f"cells_of_{SETTING}"
            output:
                [touch(relative(job.stamp)) for job in JOBS if job.setting == SETTING],
            log:
                f"build/jobs/smoke/{SETTING}.log",
            priority: 1 + HEAVY.index(SETTING) if SETTING in HEAVY else 0
            threads: steps.THREADS
            resources:
                gpu=GPU,
            params:
                setting=SETTING,  # a shell command is put together when it is run: by then the loop is over
            shell:
                f"{NSS} fill --preset smoke --setting {{params.setting}} > {{log}} 2>&1"

else:

    rule job:
        input:
            networks,
        output:
            touch("build/jobs/{preset}/{chapter}/{setting}/seed{seed}{readings}"),
        log:
            "build/jobs/{preset}/{chapter}/{setting}/seed{seed}{readings}.log",
        threads: steps.THREADS
        resources:
            gpu=GPU,
        shell:
            f"{NSS} fill --preset {{wildcards.preset}}"
            " --job {wildcards.chapter} {wildcards.setting} {wildcards.seed}"
            " --readings={wildcards.readings:q} > {log:q} 2>&1"


    rule network:
        output:
            touch("build/jobs/networks/{preset}/{setting}/seed{seed}"),
        log:
            "build/jobs/networks/{preset}/{setting}/seed{seed}.log",
        priority: 1  # the chapters wait for it
        threads: steps.THREADS
        resources:
            gpu=GPU,
        shell:
            f"{NSS} train {{wildcards.setting}} {{wildcards.seed}}"
            " --preset {wildcards.preset} > {log} 2>&1"
