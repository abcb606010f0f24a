# SPDX-License-Identifier: MIT
"""A real Slurm of one node on loopback, without systemd: munged, slurmctld and slurmd with keys, ports and folders of their own.

    with Cluster() as cluster:
        cluster.run("sbatch", "job.sh")

Nothing of it is left when the block ends, nor when the process is killed: a second process watches the first.
"""
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MARK = "KVVIZ_TEST_CLUSTER"  # in the environment of the daemons and, through them and sbatch, of all jobs
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "sinfo", "srun")

# A task that is queued again may start after cred_expire seconds (Slurm's default: 120).
CONFIGURATION = """
ClusterName=kvviz
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=5
ReturnToService=2
MailProg=/bin/true
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000
PartitionName=main Nodes=node Default=YES MaxTime=INFINITE
"""


def processes(mark):
    """(pid, environment) of all processes with this mark in their environment."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has ended, or is another user's
                continue
            if f"{MARK}={mark}" in words:
                yield int(entry.name), dict(word.split("=", 1) for word in words if "=" in word)


def remove(folder):
    """Ends all processes of the cluster, also those that they start meanwhile, and removes its folder."""
    while pids := [pid for pid, _ in processes(folder)]:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    def __init__(self):
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
        if missing:
            raise RuntimeError(f"Slurm cannot be tested: {', '.join(missing)} not found; scripts/install_packages test")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvviz-slurm-"))
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("SLURM", "SBATCH", "OMPI_", "PMI", "KVVIZ"))}
        self.environment |= {"PATH": path, "SLURM_CONF": f"{self.folder}/slurm.conf", MARK: str(self.folder)}
        self.daemons = []
        self.cpus = max(2, len(os.sched_getaffinity(0)))

    def __enter__(self):
        # Its standard input ends with this process, however that ends.
        self.watch = subprocess.Popen([sys.executable, "-B", __file__, str(self.folder)], stdin=subprocess.PIPE, start_new_session=True)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.watch.stdin.close()
        for daemon in self.daemons:
            daemon.wait()
        self.watch.wait()

    def start(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        with socket.socket() as first, socket.socket() as second:
            ports = []
            for one in (first, second):
                one.bind(("127.0.0.1", 0))
                ports.append(one.getsockname()[1])
        host = socket.gethostname().split(".")[0]
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(
            folder=self.folder, user=pwd.getpwuid(os.getuid()).pw_name, host=host, ports=ports, cpus=self.cpus))

        # Without a look at /sys, which a container may lack; no task is confined.
        (self.folder / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={self.folder}/cgroup\n")
        # munged would refuse a folder that others cannot enter.
        self.daemon("munged", "--foreground", "--force", "--num-threads=10", f"--socket={self.folder}/munge.socket",
                    f"--key-file={key}", f"--pid-file={self.folder}/munge.pid", f"--seed-file={self.folder}/munge.seed")
        self.until((self.folder / "munge.socket").exists, "munged's socket")
        self.daemon("slurmctld", "-D", "-c")
        self.daemon("slurmd", "-D", "-N", "node")
        self.until(lambda: self.run("sinfo", "-h", "-o", "%T", check=False).stdout.strip() == "idle", "an idle node")

    def daemon(self, name, *arguments):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.daemons.append(subprocess.Popen([name, *arguments], env=self.environment, stdin=subprocess.DEVNULL,
                                                 stdout=log, stderr=subprocess.STDOUT, cwd=self.folder))

    def until(self, true, what, seconds=60):
        """Waits until true() is; returns what it gave."""
        end = time.monotonic() + seconds
        while not (value := true()):
            dead = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                why = f"{', '.join(dead)} ended" if dead else f"not within {seconds} s"
                raise RuntimeError(f"waited for {what}: {why}\n{self.logs()}")
            time.sleep(0.05)
        return value

    def logs(self):
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in sorted(self.folder.glob("*.log")))

    def run(self, *command, check=True, **options):
        done = subprocess.run([str(word) for word in command], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, **options)
        if check and done.returncode != 0:
            raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{self.logs()}")
        return done

    def jobs(self, job):
        """Of a job, or of each task of an array: state, exit code, and how often it was queued again."""
        text = self.run("scontrol", "-o", "show", "job", job).stdout
        return [{"state": re.search(r" JobState=(\w+)", line)[1], "exit": int(re.search(r" ExitCode=(\d+)", line)[1]),
                 "restarts": int(re.search(r" Restarts=(\d+)", line)[1])} for line in text.splitlines() if "JobState=" in line]

    def ended(self, job, seconds=120):
        """jobs() once none of them will run any more."""
        def all_ended():
            jobs = self.jobs(job)
            return jobs if all(one["state"] not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED") for one in jobs) else None
        return self.until(all_ended, f"the end of job {job}", seconds)

    def task(self, program, task, array):
        """The pid of a program that a running task of an array has started; None: there is none."""
        for pid, environment in processes(self.folder):
            if environment.get("SLURM_ARRAY_TASK_ID") == str(task) and environment.get("SLURM_ARRAY_JOB_ID") == str(array):
                try:
                    if program in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:2]:
                        return pid
                except OSError:
                    pass
        return None


if __name__ == "__main__":
    sys.stdin.read()
    remove(sys.argv[1])
