#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fetch_wikitext_test.py WIKI_TEST_RAW: scripts/fetch_wikitext without a network. WIKI_TEST_RAW is WikiText-2's."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "fetch_wikitext"
WIKI_TEST_RAW = pathlib.Path(sys.argv.pop(1)).read_bytes()


class Fetch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.target = self.folder / "texts"

    def archive(self, files):
        with zipfile.ZipFile(self.folder / "a.zip", "w") as out:
            for name, data in files.items():
                out.writestr(f"wikitext-2-raw/{name}", data)
        return f"file://{self.folder}/a.zip"

    def fetch(self, *arguments, **environment):
        return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, cwd=self.folder,
                              env=os.environ | environment, check=False)

    def left(self):
        return sorted(os.listdir(self.target)) if self.target.exists() else []

    def test_archive_that_passes_the_check(self):
        url = self.archive({"wiki.test.raw": WIKI_TEST_RAW, "wiki.valid.raw": "v", "wiki.train.raw": "t"})
        done = self.fetch("--url", url, self.target)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.left(), ["wiki.test.raw", "wiki.train.raw", "wiki.valid.raw"])
        self.assertEqual((self.target / "wiki.test.raw").read_bytes(), WIKI_TEST_RAW)
        again = self.fetch("--url", "file:///nowhere.zip", self.target)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("already", again.stdout)

    def test_address_from_the_environment_and_default_folder(self):
        done = self.fetch(KVVIZ_WIKITEXT_URL=self.archive({"wiki.test.raw": WIKI_TEST_RAW}))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.folder / "wikitext-2-raw" / "wiki.test.raw").exists())

    def test_failures_say_what_to_do_and_keep_nothing(self):
        (self.folder / "no.zip").write_text("not an archive")
        changed = bytes([WIKI_TEST_RAW[0] ^ 1]) + WIKI_TEST_RAW[1:]
        for url, message in ((f"file://{self.folder}/none.zip", "Without a network: copy wiki.test.raw"),
                             ("http://127.0.0.1:9/none.zip", "Without a network"),
                             (f"file://{self.folder}/no.zip", "did not give a zip archive"),
                             (self.archive({"other.txt": "x"}), "has no wiki.test.raw")):
            with self.subTest(message):
                done = self.fetch("--url", url, self.target)
                self.assertEqual(done.returncode, 1)
                self.assertIn(message, done.stderr)
                self.assertEqual(self.left(), [])
        done = self.fetch("--url", self.archive({"wiki.test.raw": changed}), self.target)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing was kept", done.stderr)
        self.assertEqual(self.left(), [])

    def test_command_line(self):
        self.assertIn("--url URL", self.fetch("--help").stdout)
        for arguments in (["--nosuch"], ["--url"], ["a", "b"]):
            with self.subTest(arguments):
                self.assertEqual(self.fetch(*arguments).returncode, 2)


if __name__ == "__main__":
    unittest.main()
