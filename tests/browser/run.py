#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drives every tab of kvviz serve in headless Chromium.

Exit status 77 where Chromium, its driver or a module are missing: ctest then says "skipped". Under CI it is 1.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SKIPPED = 77
# Each has a browser and a server of its own; the longest first.
MODULES = [
    "test_stream",
    "test_hub",
    "test_eviction",
    "test_profile",
    "test_looks",
    "test_architecture",
    "test_hub_network",
    "test_safety",
    "test_connection",
    "test_shell",
]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kvviz", type=Path, help="the executable")
    parser.add_argument("--jobs", type=int, default=2, help="files of tests at once")
    parser.add_argument("--lacking", action="store_true", help="run nothing; say what is missing here")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="run no test; write a picture of every tab, dark and light")
    parser.add_argument("tests", nargs="*", help="such as test_stream or test_stream.Stream.test_step_makes_one_step")
    options = parser.parse_args()
    if options.kvviz is None and not options.lacking:
        parser.error("--kvviz names the executable")
    return options


def lacking():
    programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    modules = [f"python3-{name}" for name in ("selenium", "numpy", "h5py") if importlib.util.find_spec(name) is None]
    return programs + modules


def say_lacking(names):
    line = f"THE BROWSER TESTS CANNOT RUN HERE: {', '.join(names)} missing; scripts/install_packages test installs them."
    print(f"{'!' * len(line)}\n{line}\n{'!' * len(line)}", file=sys.stderr)
    return 1 if os.environ.get("CI") or os.environ.get("KVVIZ_CI") else SKIPPED


def run_here(options):
    """In this process, with one browser."""
    import case
    import server

    server.KVVIZ = str(options.kvviz.resolve())
    try:
        if options.screenshots is not None:
            import screenshots

            screenshots.take(options.screenshots)
            return 0
        suite = unittest.defaultTestLoader.loadTestsFromNames(options.tests)
        return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1
    finally:
        case.close_stage()


def run_all(options):
    """Every file in a process of its own. The output of each comes when it is done."""
    unlisted = {path.stem for path in FOLDER.glob("test_*.py")} ^ set(MODULES)
    if unlisted:
        sys.exit(f"MODULES of run.py and the files differ: {', '.join(sorted(unlisted))}")

    def one(module):
        done = subprocess.run(
            [sys.executable, "-B", __file__, "--kvviz", options.kvviz, module],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"--- {module}\n{done.stdout}", flush=True)
        return module, done.returncode

    with ThreadPoolExecutor(options.jobs) as pool:
        failed = [module for module, code in pool.map(one, MODULES) if code != 0]
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def main():
    options = parse()
    if names := lacking():
        code = say_lacking(names)
        return code if not options.lacking or code == 1 else 0
    if options.lacking:
        return 0
    return run_here(options) if options.tests or options.screenshots else run_all(options)


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER))
    sys.exit(main())
