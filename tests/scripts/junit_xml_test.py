#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""junit_xml_test.py KVVIZ: what kvviz writes with --junit is well-formed, and says the same to a parser as to a reader."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

KVVIZ = sys.argv.pop(1)
CACHE = ["profile", "--layers", "2", "--kv-heads", "2", "--head-dim", "8", "--no-plots"]


class Reports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def report(self, *arguments, code):
        done = subprocess.run([KVVIZ, *arguments, "--junit", "report.xml"], cwd=self.folder, capture_output=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        root = xml.parse(self.folder / "report.xml").getroot()
        self.assertEqual(root.tag, "testsuites")
        self.assertEqual(len(root), 1)
        suite = root[0]
        cases = suite.findall("testcase")
        for counted in (root, suite):
            self.assertEqual(int(counted.get("tests")), len(cases))
            self.assertEqual(int(counted.get("failures")), len(suite.findall("testcase/failure")))
            self.assertEqual(int(counted.get("errors")), len(suite.findall("testcase/error")))
        return suite, cases

    def test_gates(self):
        suite, cases = self.report(*CACHE, "--fail-if", "layers>1", "--fail-if", "layers>2", code=4)
        self.assertEqual([case.get("name") for case in cases], ["layers>1", "layers>2"])
        self.assertEqual({case.get("classname") for case in cases}, {"kvviz.profile"})
        failure = cases[0].find("failure")
        self.assertEqual(failure.get("message"), "layers is 2: --fail-if layers>1")
        self.assertEqual(failure.text.splitlines(), ["got: 2", "bound: fails if > 1", "expression: layers>1"])
        self.assertEqual(cases[1].find("system-out").text, "layers is 2: --fail-if layers>2")
        properties = {one.get("name"): one.get("value") for one in suite.findall("properties/property")}
        self.assertLessEqual({"model", "text", "version", "commit", "command_line"}, set(properties))
        self.assertIn("--fail-if 'layers>1'", properties["command_line"])

    def test_what_xml_has_to_escape(self):
        subprocess.run([KVVIZ, *CACHE], cwd=self.folder, capture_output=True, check=True)
        result = json.loads((self.folder / "results/profile.json").read_text())
        model = "<model a=\"b\" c='d'>&amp; ]]> \u00e9 \U0001f600 \n\t end"
        result["provenance"]["model"] = model + " \u0001 \ufffe"
        for name in ("a.json", "b.json"):
            (self.folder / name).write_text(json.dumps(result))
        gate = b"no&<such>\"row\"\xff'\x1b\n.a>1"
        suite, cases = self.report("compare", "a.json", "b.json", "--no-plots", "--tolerance", "0", "--fail-if", gate, code=2)
        self.assertEqual(cases[0].get("name"), "no&<such>\"row\"\ufffd'\ufffd\n.a>1")
        self.assertIn("the result has no", cases[0].find("error").get("message"))
        properties = {one.get("name"): one.get("value") for one in suite.findall("properties/property")}
        self.assertEqual(properties["model_a"], model + " \ufffd \ufffd")
        self.assertEqual([case.get("name") for case in cases[1:3]], ["--tolerance summary", "--tolerance dtypes"])

    def test_run_that_does_not_end(self):
        _, cases = self.report("profile", "--model", "nowhere", "--fail-if", "layers>2", code=1)
        self.assertIsNotNone(cases[0].find("error"))


if __name__ == "__main__":
    unittest.main()
