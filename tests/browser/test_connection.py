# SPDX-License-Identifier: MIT
"""A server that goes and comes back, and one that asks for a token."""

from case import BrowserCase
from selenium.webdriver.common.keys import Keys
from server import Server

TOKEN = "correct-horse-battery-staple"
GONE = "ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED|ERR_NETWORK|Failed to fetch"


class Connection(BrowserCase):
    def test_the_page_says_when_the_server_stops_and_when_it_is_back(self):
        self.expect(GONE)
        server = Server().wait_ready()
        self.page.open(server, "stream")
        self.page.wait_text("connection-text", "Connected")
        self.page.choose("stream-layer", 0)
        self.page.click("stream-step")
        self.page.wait("a token", lambda: self.page.value("stream-length") == 1)
        server.stop()
        self.page.wait_text("connection-text", "Disconnected")
        self.page.click("stream-step")
        self.page.wait_text("stream-error", "cannot be reached")
        again = self.serve(port=server.port).wait_ready()
        self.expect("status of 404")  # the stream went with its server
        self.page.wait_text("connection-text", "Connected")
        self.assertEqual(self.page.text("model-indicator-text"), "demo")
        self.page.click("stream-start")
        self.page.wait("a new stream", lambda: self.page.value("stream-length") > 1)
        self.assertEqual(again.ask("health")["streams"], 1)


class Token(BrowserCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve("--token", TOKEN)
        self.page.wait("the model", lambda: self.server.ask("model", token=TOKEN)["state"] == "ready")

    def test_it_is_asked_for_and_a_wrong_one_is_refused(self):
        self.expect("status of 401")
        self.page.open(self.server)
        self.page.wait("the form", lambda: self.page.shown("token-form"))
        self.assertEqual(self.page.all('[data-testid="loaded-id"]'), [], "nothing is shown without it")
        self.assertFalse(self.page.shown("token-refused"))
        for _ in range(3):
            self.page.press(Keys.ESCAPE)
        self.page.wait("the form, which stays", lambda: self.page.shown("token-form"))
        self.page.enter("token-input", "a-wrong-token-of-16", Keys.ENTER)
        self.page.wait("the refusal", lambda: self.page.shown("token-refused"))
        self.assertIn("That token was not accepted", self.page.text("token-refused"))
        self.page.enter("token-input", TOKEN, Keys.ENTER)
        self.page.wait("the page", lambda: self.page.all('[data-testid="loaded-id"]'))
        self.assertFalse(self.page.shown("token-form"))
        self.page.reload()
        self.page.wait("the model after a reload", lambda: self.page.all('[data-testid="loaded-id"]'))
        self.assertNotIn(TOKEN, self.page.driver.page_source)

    def test_an_address_with_the_token_opens_the_page_and_loses_it(self):
        self.page.open(self.server, f"token={TOKEN}")
        self.page.wait("the page", lambda: self.page.all('[data-testid="loaded-id"]'))
        self.assertNotIn(TOKEN, self.page.driver.current_url)
        self.assertFalse(self.page.shown("token-form"))
        self.page.tab("stream")
        self.page.choose("stream-layer", 0)
        self.page.click("stream-step")
        self.page.wait("a token of the text", lambda: self.page.value("stream-length") == 1)
