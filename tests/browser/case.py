# SPDX-License-Identifier: MIT
"""A test at the page: one browser and one server for all, and nothing unexpected in the browser's log at the end."""

import math
import re
import unittest

from browser import DESKTOP, Page
from server import Server

_stage = {}


def shared_page():
    if "page" not in _stage:
        _stage["page"] = Page()
    return _stage["page"]


def shared_server():
    """Serves the shipped model."""
    if "server" not in _stage:
        _stage["server"] = Server().wait_ready()
    return _stage["server"]


def close_stage():
    if "page" in _stage:
        _stage.pop("page").close()
    if "server" in _stage:
        _stage.pop("server").stop()


class BrowserCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.page = shared_page()
        self.server = shared_server()
        self.page.size(*DESKTOP)
        self.page.log()
        self.expected = []

    def expect(self, *patterns):
        """What the browser may log in this test, such as "status of 400"."""
        self.expected += patterns

    def tearDown(self):
        self.page.driver.get("about:blank")
        unexpected = [
            entry
            for entry in self.page.log()
            if entry["level"] in ("SEVERE", "WARNING") and not any(re.search(pattern, entry["message"]) for pattern in self.expected)
        ]
        self.assertEqual(unexpected, [], "the browser's log")

    def other_client(self):
        """A second browser: nothing is shared with the first."""
        other = Page()
        self.addCleanup(other.close)
        return other

    def serve(self, *arguments, **settings):
        server = Server(*arguments, **settings)
        self.addCleanup(server.stop)
        return server

    def assert_close(self, got, want, what="", relative=1e-5, absolute=1e-7):
        """Numbers that two programs computed from the same data; `absolute` is for those near 0."""
        self.assertIsNotNone(want, what)
        self.assertFalse(math.isnan(got), f"{what}: the page shows no number, expected {want}")
        self.assertLessEqual(abs(got - want), absolute + relative * abs(want), f"{what}: the page shows {got}, expected {want}")

    def assert_value(self, testid, want, **tolerance):
        self.assert_close(self.page.value(testid), want, testid, **tolerance)
