#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""slurm_test.py KVVIZ [WIKI_TEST_RAW]: scripts/slurm on a real Slurm, with what happens to jobs: kill -9, requeue, no time left,
shards that are missing. What is merged has to be what one run gives. Also GNU parallel, mpirun and srun, by the environment
alone. With WikiText-2's file also the run of docs/cluster.md."""
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import struct
import sys
import tempfile
import unittest

from slurm_cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUBMIT = ROOT / "scripts/slurm/submit"
MERGE = ROOT / "scripts/slurm/kvviz_merge.sbatch"
SAMPLES = sorted((ROOT / "data/samples").glob("*.txt"))
DEMO = ROOT / "data/models/demo"
KVVIZ = str(pathlib.Path(sys.argv.pop(1)).resolve())
WIKITEXT = pathlib.Path(sys.argv.pop(1)) if sys.argv[1:2] and sys.argv[1].endswith(".raw") else None


def what_was_measured(file):
    """The bytes of a result but for its command line and number of threads: how it was run."""
    text, times = re.subn(rb'"command_line": "(\\.|[^"\\])*"|"threads": \d+', b"", file.read_bytes())
    assert times == 2, f"{file} has {times} of command_line and threads"
    return text


def finished_texts(records):
    """Whole blocks of texts in a records file (docs/record_file.md), which may be being written to."""
    if not records.exists():
        return 0
    data, at, count = records.read_bytes(), 16, 0
    while at + 48 <= len(data):
        size, text = struct.unpack_from("<Qq", data, at)
        at += 48 + size
        count += text >= 0 and at <= len(data)
    return count


class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster())

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvviz-slurm-work-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_here(self, *command, check=True):
        return self.cluster.run(*command, check=check, cwd=self.folder)

    def submit(self, *arguments, kvviz=KVVIZ):
        """The ids of the array job and, if there is one, of the merge job."""
        done = self.run_here(SUBMIT, "--kvviz", kvviz, "--time", "10", *arguments)
        ids = re.findall(r"^(?:array|merge) job (\d+):", done.stdout, re.MULTILINE)
        self.assertEqual(len(ids), 1 if "--no-merge" in arguments else 2, done.stdout)
        return ids

    def log(self, name, out="out"):
        return (self.folder / out / "slurm" / f"{name}.log").read_text()

    def disturb(self, what, array, task):
        kvviz = self.cluster.task(KVVIZ, task, array)
        self.assertIsNotNone(kvviz, f"task {task} is over already: its texts are too few or too short for this machine")
        if what == "kill -9":
            os.kill(kvviz, signal.SIGKILL)
        elif what == "time is up":
            script = int(pathlib.Path(f"/proc/{kvviz}/stat").read_text().rsplit(")", 1)[1].split()[1])
            os.kill(script, signal.SIGUSR1)
        else:
            self.run_here("scontrol", "requeue", f"{array}_{task}")

    def check_same(self, one, other, command="sinks"):
        self.assertEqual(what_was_measured(self.folder / one / f"results/{command}.json"),
                         what_was_measured(self.folder / other / f"results/{command}.json"))
        self.assertEqual((self.folder / one / f"results/{command}.h5").read_bytes(), (self.folder / other / f"results/{command}.h5").read_bytes())

    def long_work(self):
        """Options of a run of 40 texts, no two alike, of which a shard of 8 takes seconds."""
        model = self.folder / "model"
        shutil.copytree(DEMO, model)
        config = json.loads((model / "config.json").read_text())
        config["max_position_embeddings"] = 8192
        (model / "config.json").write_text(json.dumps(config))
        words = " ".join(sample.read_text() for sample in SAMPLES).split()
        texts = [" ".join((words + words)[k * 211:k * 211 + 2900]) for k in range(40)]
        (self.folder / "texts.txt").write_text("\n".join(texts) + "\n")
        return ["sinks", "--model", "model", "--prompts", "texts.txt"]

    def test_tasks_that_are_killed_requeued_or_out_of_time_go_on(self):
        work = self.long_work()
        array, merge = self.submit("--shards", "8", "--out", "out", "--", *work, "--", "--no-plots")
        disturbed = {0: "kill -9", 1: "time is up", 2: "scontrol requeue"}
        records = {task: self.folder / f"out/results/sinks.{task}-of-8.records" for task in disturbed}
        before = {}

        def disturb_those_that_have_finished_a_text():
            for task in set(disturbed) - set(before):
                if finished_texts(records[task]) > 0:
                    before[task] = records[task].stat().st_size
                    self.disturb(disturbed[task], array, task)
            return len(before) == len(disturbed)

        self.cluster.until(disturb_those_that_have_finished_a_text, "tasks to finish a text")
        self.run_here(KVVIZ, *work, "--no-plots", "--out", "single")
        merged = self.cluster.ended(merge)
        self.assertEqual(merged, [{"state": "COMPLETED", "exit": 0, "restarts": 0}], self.log(f"merge_{merge}"))
        tasks = self.cluster.jobs(array)
        self.assertEqual(len(tasks), 8)
        self.assertEqual({(one["state"], one["exit"]) for one in tasks}, {("COMPLETED", 0)})
        self.assertEqual(sorted(one["restarts"] for one in tasks), [0] * 5 + [1] * 3)
        for task, what in disturbed.items():
            with self.subTest(what):
                log = self.log(f"{array}_{task}")
                self.assertIn(f"run 1 of job {array}_{task}", log)
                self.assertIn(f"run 2 of job {array}_{task}", log)
                self.assertGreater(int(re.findall(r"; (\d+) bytes of records are there", log)[1]), 0)
                self.assertGreater(records[task].stat().st_size, before[task])
        self.assertIn("ended with 137, its records have grown: queueing it again", self.log(f"{array}_0"))
        self.assertIn("ended with 143, its records have grown: queueing it again", self.log(f"{array}_1"))
        self.check_same("single", "out")

    if WIKITEXT:
        def test_run_of_the_documentation_over_wikitext(self):
            page = (ROOT / "docs/cluster.md").read_text()
            call = shlex.split(re.search(r"^\S*/scripts/slurm/(submit (?:.*\\\n)*.*)", page, re.MULTILINE)[1].replace("\\\n", " "))
            for option, here in (("--model", "demo"), ("--cpus-per-task", "1")):
                call[call.index(option) + 1] = here
            (self.folder / "wikitext-2-raw").mkdir()
            shutil.copy(WIKITEXT, self.folder / "wikitext-2-raw/wiki.test.raw")
            (self.folder / "articles").mkdir()
            self.run_here("sh", "-c", re.search(r"^awk '[^']*' .*", page, re.MULTILINE)[0])
            whole = b"".join(file.read_bytes() for file in sorted((self.folder / "articles").iterdir()))
            self.assertEqual(whole.strip(), WIKITEXT.read_bytes().strip())
            _, merge = self.submit(*call[1:], "--no-plots")
            self.assertEqual([(one["state"], one["exit"]) for one in self.cluster.ended(merge, 300)], [("COMPLETED", 0)])
            work = call[call.index("--") + 1:]
            self.run_here(KVVIZ, *work[:work.index("--")], "--no-plots", "--out", "single")
            self.assertEqual(json.loads((self.folder / "single/results/sinks.json").read_text())["summary"]["texts"], 60)
            self.check_same("single", call[call.index("--out") + 1])

    def test_missing_shard(self):
        work = ["sinks", "--model", "demo"]
        array, = self.submit("--shards", "4", "--array", "0,1,3", "--out", "out", "--no-merge", "--", *work)
        self.assertEqual({(one["state"], one["exit"]) for one in self.cluster.ended(array)}, {("COMPLETED", 0)})
        early = self.run_here("sbatch", "--parsable", "-o", "early.log", MERGE, "4", "out", KVVIZ, "sinks", "--no-plots").stdout.strip()
        self.assertEqual([(one["state"], one["exit"]) for one in self.cluster.ended(early)], [("FAILED", 1)])
        self.assertIn("shard 2 of 4 is missing", (self.folder / "early.log").read_text())
        self.assertFalse((self.folder / "out/results/sinks.json").exists())

        array, merge = self.submit("--shards", "4", "--array", "2", "--out", "out", "--", *work, "--", "--no-plots",
                                   "--fail-if", "sink_rate>0", "--junit", "gates.xml")
        self.assertEqual([(one["state"], one["exit"]) for one in self.cluster.ended(merge)], [("FAILED", 4)])
        self.assertIn("sink_rate&gt;0", (self.folder / "gates.xml").read_text())
        self.run_here(KVVIZ, *work, "--no-plots", "--out", "single")
        self.check_same("single", "out")

    def test_failures_end_the_array_and_cancel_the_merge(self):
        wrong = self.submit("--shards", "2", "--out", "wrong", "--", "sinks", "--metric", "nosuch")
        # Stands for a kvviz that is killed before it has finished its first text.
        stuck = self.folder / "stuck kvviz"
        stuck.write_text('#!/bin/bash\n[ "$2" = --help ] && exec echo "  --shard TEXT"\nkill -9 $$\n')
        stuck.chmod(0o755)
        killed = self.submit("--shards", "2", "--out", "100% killed", "--", "sinks", "--model", "a b", kvviz=str(stuck))
        for (array, merge), code, out, message in ((wrong, 2, "wrong", "nosuch"), (killed, 137, "100% killed", "finished no text")):
            with self.subTest(message):
                self.assertEqual(self.cluster.ended(array), [{"state": "FAILED", "exit": code, "restarts": 0}] * 2)
                self.assertEqual(self.cluster.ended(merge)[0]["state"], "CANCELLED")
                for task in (0, 1):
                    self.assertIn(message, self.log(f"{array}_{task}", out))

    def test_cpus_become_threads_and_arguments_arrive_as_they_are(self):
        show = self.folder / "show"
        show.write_text('#!/bin/bash\n[ "$2" = --help ] && exec echo "  --shard TEXT"\nprintf "<%s>\\n" "$@"\n')
        show.chmod(0o755)
        array, merge = self.submit("--shards", "1", "--cpus-per-task", "2", "--out", "o u\tt", "--", "analyze-similarity", "--prompt", "a  'b' $c *",
                                   "--", "--fail-if", "x>1", kvviz=str(show))
        self.assertEqual(self.cluster.ended(merge)[0]["state"], "COMPLETED")
        out = self.folder.resolve() / "o u\tt"
        words = re.findall(r"<(.*)>", self.log(f"{array}_0", out))
        self.assertEqual(words, ["analyze-similarity", "--prompt", "a  'b' $c *", "--threads", "2", "--shard", "0/1", "--resume", "--out", str(out)])
        words = re.findall(r"<(.*)>", self.log(f"merge_{merge}", out))
        self.assertEqual(words, ["merge", f"{out}/results/analyze_similarity.*-of-1.records", "--threads", "2", "--out", str(out), "--fail-if", "x>1"])

    def test_launchers_that_speak_through_the_environment(self):
        work = [KVVIZ, "sinks", "--model", "demo", "--resume", "--threads", "1"]
        root = ["--allow-run-as-root"] if os.getuid() == 0 else []
        self.run_here("srun", "-n", "2", *work, "--shard", "auto", "--out", "srun")
        self.run_here("mpirun", *root, "--oversubscribe", "-n", "3", *work, "--shard", "auto", "--out", "mpi")
        self.run_here("parallel", "-j", "2", *work, "--shard", "{}/3", "--out", "parallel", ":::", "0", "1", "2")
        self.run_here(*work, "--no-plots", "--out", "single")
        for out in ("srun", "mpi", "parallel"):
            with self.subTest(out):
                self.run_here(KVVIZ, "merge", out, "--no-plots", "--out", out)
                self.check_same("single", out)

    def test_command_line_of_submit(self):
        work = ["--", "sinks"]
        for arguments, message in ((["--out", "o", *work], "--shards"), (["--shards", "0", "--out", "o", *work], "--shards"),
                                   (["--shards", "2", *work], "--out"), (["--shards", "2", "--out", "o", "sinks"], "--"),
                                   (["--shards", "2", "--out", "o", "--"], "no command"), (["--shards"], "--shards"),
                                   (["--shards", "2", "--out", "o", *work, "--shard", "0/2"], "--shard"),
                                   (["--shards", "2", "--out", "o", *work, "--threads=2"], "--cpus-per-task"),
                                   (["--shards", "2", "--out", "o", "--", "profile"], "profile"),
                                   (["--shards", "2", "--out", "o", "--", "nosuch"], "nosuch")):
            with self.subTest(arguments):
                done = self.run_here(SUBMIT, "--kvviz", KVVIZ, *arguments, check=False)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(message, done.stderr)
        done = self.run_here(SUBMIT, "--kvviz", KVVIZ, "-p", "nosuch", "--shards", "2", "--out", "o", *work, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("partition", done.stderr)
        done = self.run_here(SUBMIT, "--kvviz", KVVIZ, "--wait", "--shards", "2", "--out", "o", *work, "--metric", "nosuch", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stdout, r"^array job \d+: shards 0-1 of 2, logs in .*/o/slurm\n$")

    def test_dry_run_of_an_installed_submit(self):
        slurm = self.folder / "usr/share/kvviz/scripts/slurm"
        shutil.copytree(SUBMIT.parent, slurm)
        program = self.folder.resolve() / "usr/bin/kvviz"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho \"  --shard TEXT\"\n")
        program.chmod(0o755)
        link = self.folder / "submit"
        link.symlink_to(slurm / "submit")
        done = self.run_here(link, "--dry-run", "--shards", "100", "--array", "0-99%7", "--out", "a b", "-p", "short", "--", "sinks", "--", "--csv")
        calls = done.stdout.splitlines()
        self.assertEqual(len(calls), 2)
        for call in calls:
            self.assertIn(r"/a\ b/slurm/", call)
            self.assertIn(" -p short ", call)
            self.assertIn(f" 100 {self.folder.resolve()}/a\\ b {program} sinks ", call)
        self.assertIn("--array=0-99%7", calls[0])
        self.assertNotIn("--csv", calls[0])
        self.assertIn("--dependency=afterok:", calls[1])
        self.assertIn("--csv", calls[1])
        self.assertFalse((self.folder / "a b").exists())
        self.assertIn("--shards N", self.run_here(SUBMIT, "--help").stdout)


if __name__ == "__main__":
    unittest.main()
