"""A Slurm cluster of one node on this machine, with GPUs that are not there: for tests. Needs Debian's slurm-wlm, munge
and root's rights; listens on the loopback only, and ends with the block."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
# Where programs look that have lost SLURM_CONF: Snakemake's plugin takes all such variables from a job's `srun`.
KNOWN = Path("/run/slurm/conf")
CONF = """
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=0
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
NodeName={node} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """What of Slurm this machine does not have; "" where it can be started."""
    if os.geteuid():
        return "root's rights"
    if KNOWN.exists() or Path("/etc/slurm/slurm.conf").exists():
        return "a machine without a Slurm of its own"
    return ", ".join(name for name in (*DAEMONS, "sbatch", "srun") if not shutil.which(name))


@contextmanager
def running(folder: Path, cores: int = 4, gpus: int = 2) -> Iterator[dict[str, str]]:
    """Within the block a cluster runs, with its files in `folder`; gives the environment to call it with."""
    folder.mkdir(mode=0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    node, memory = socket.gethostname().split(".")[0], psutil.virtual_memory().total >> 20
    told = CONF.format(node=node, folder=folder, cores=cores, gpus=gpus, memory=memory, ports=_ports(2))
    (folder / "slurm.conf").write_text(told)
    for number in range(gpus):
        (folder / f"gpu{number}").touch()  # slurmd counts files, whatever is in them
    (folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName={node} Name=gpu File={folder}/gpu[0-{gpus - 1}]\n")
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", node],
    ]
    started: list[subprocess.Popen] = []
    KNOWN.parent.mkdir(exist_ok=True)
    KNOWN.symlink_to(folder)
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("w") as out:
                started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            time.sleep(1)
        _wait(lambda: asked(environment, "sinfo", "-h", "-o", "%T") == "idle", "the node is idle", folder)
        yield environment
    finally:
        for process in reversed(started):
            _stop(process)
        KNOWN.unlink()


def asked(environment: dict[str, str], *command: str) -> str:
    """What a command of Slurm's answers; "" where it fails."""
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()


def below(environment: dict[str, str], wanted: str) -> list[psutil.Process]:
    """The processes of jobs on the cluster whose command has these words, the innermost of each job."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("SLURM_CONF") == environment["SLURM_CONF"]
            words = process.cmdline()
            if mine and "SLURM_JOB_ID" in process.environ() and wanted in " ".join(words) and "python" in words[0]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, IndexError):
            continue
    return found


def _stop(process: psutil.Popen | subprocess.Popen) -> None:
    """End a daemon and all below it."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in family:
        if child.is_running():
            child.kill()


def _ports(number: int) -> list[int]:
    free = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [each.getsockname()[1] for each in free]
    for each in free:
        each.close()
    return found


def _wait(until, what: str, folder: Path, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not until():
        if time.monotonic() > limit:
            said = "\n".join(path.read_text()[-2000:] for path in sorted(folder.glob("*.log")))
            raise TimeoutError(f"{seconds:g} seconds went by before {what}. The daemons said:\n{said}")
        time.sleep(0.5)
