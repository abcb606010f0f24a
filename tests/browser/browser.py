# SPDX-License-Identifier: MIT
"""Headless Chromium, and the page as a reader uses it. What is waited for has a time limit; nothing sleeps and hopes."""

import math
import os
import shutil
import time

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

DESKTOP = (1280, 800)
PHONE = (390, 844)
LIMIT = 15
TABS = ["hub", "architecture", "stream", "eviction", "profile"]

BY_TESTID = 'document.querySelector(`[data-testid="${arguments[0]}"]`)'
INTO_VIEW = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
# Values at once, with the events that a browser sends.
SET_VALUE = """
  const [field, value, ...events] = arguments;
  field.value = value;
  for (const name of events) field.dispatchEvent(new Event(name, {bubbles: true}));"""
COMPLAINTS = """
  const seen = [...document.querySelectorAll(".message, [role=alert]")].filter(e => e.checkVisibility());
  return seen.map(e => e.innerText).join(" | ");"""
READ = """
  const [selector, what] = arguments;
  const one = e => (what === "innerText" ? e.innerText.trim() : e.getAttribute(what));
  return [...document.querySelectorAll(selector)].map(one);"""
RAW = f"""
  const e = {BY_TESTID}, name = arguments[1];
  return e && {{raw: name === "value" && "value" in e ? e.value : e.getAttribute(name)}};"""
PIXELS = f"""
  const canvas = {BY_TESTID};
  const left = Math.floor(canvas.width * (1 - arguments[1]));
  const copy = new OffscreenCanvas(canvas.width - left, canvas.height).getContext("2d", {{willReadFrequently: true}});
  copy.drawImage(canvas, -left, 0);
  const {{data}} = copy.getImageData(0, 0, canvas.width - left, canvas.height);
  const counts = {{}};
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) {{
    const name = `${{data[i]}},${{data[i + 1]}},${{data[i + 2]}}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }}
  return counts;"""


def start_driver():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    switches = [
        "--headless=new",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-extensions",
        "--disable-component-update",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        "--force-color-profile=srgb",
        "--lang=en-US",
    ]
    if os.geteuid() == 0:
        switches.append("--no-sandbox")
    for switch in switches:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    driver.set_page_load_timeout(30)
    return driver


class Page:
    """The page of one client. Elements are found by `data-testid`, numbers are read from `data-value`."""

    def __init__(self, driver=None):
        self.driver = driver or start_driver()
        self.url = ""
        self.size(*DESKTOP)

    def close(self):
        self.driver.quit()

    # --- the window

    def size(self, width, height):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        )

    def open(self, server, tab="hub", fresh=True, ready=True, tours=False):
        """Opens the page at a tab; `fresh`: without what an earlier visit left in the browser, but with the tours seen."""
        self.url = server.url
        self.driver.get("about:blank")
        if fresh:
            self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": server.url.rstrip("/"), "storageTypes": "all"})
        seen = "" if tours else "for (const name of ['stream', 'eviction']) localStorage.setItem(`kvviz-tour-${name}`, 'seen');"
        first = self.driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": f"{'sessionStorage.clear();' if fresh else ''} {seen}"}
        )
        self.driver.get(f"{server.url}#{tab}")
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", first)
        if ready:
            self.wait_started()
        return self

    def reload(self):
        self.driver.refresh()
        self.wait_started()

    def wait_started(self):
        self.wait("the page to start", lambda: self.js("return document.body.dataset.ready") == "true")

    def tab(self, name):
        self.click(f"tab-{name}")
        self.wait(f"tab {name}", lambda: self.shown(f"panel-{name}"))

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def log(self):
        return self.driver.get_log("browser")

    # --- waiting

    def wait(self, what, condition, limit=LIMIT):
        """Until `condition` returns something true, which is returned."""
        end = time.monotonic() + limit
        while True:
            try:
                found = condition()
            except (NoSuchElementException, StaleElementReferenceException):
                found = None
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"waited {limit} s for {what}; the page says: {self.complaints() or 'nothing'}")
            time.sleep(0.02)

    def complaints(self):
        return self.js(COMPLAINTS)

    # --- elements

    def find(self, testid):
        return self.driver.find_element(By.CSS_SELECTOR, f'[data-testid="{testid}"]')

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def read(self, selector, what="innerText"):
        """An attribute, or the text, of all that match, at one moment."""
        return self.js(READ, selector, what)

    def shown(self, testid):
        """Whether it is there and can be seen."""
        return self.js(f"return {BY_TESTID}?.checkVisibility() ?? false", testid)

    def text(self, testid):
        return self.find(testid).text

    def raw(self, testid, name="data-value"):
        """An attribute, or None; `value` of a field is what is in it now."""
        found = self.js(RAW, testid, name)
        if found is None:
            raise NoSuchElementException(testid)
        return found["raw"]

    def value(self, testid, name="data-value"):
        """A number; nan where the page shows a dash."""
        raw = self.raw(testid, name)
        return math.nan if raw in ("", None) else float(raw)

    def wait_text(self, testid, part, limit=LIMIT):
        return self.wait(f"'{part}' in {testid}", lambda: part in self.text(testid), limit)

    def pixels(self, testid, part=1):
        """Colours of a canvas as "r,g,b", each with its count, in the right `part` of it."""
        return self.js(PIXELS, testid, part)

    def drawn(self, testid, name, part=1):
        """How many of these pixels have a colour of the style sheet."""
        colour = self.js("return getComputedStyle(document.documentElement).getPropertyValue(`--${arguments[0]}`).trim()", name)
        return self.pixels(testid, part).get(",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)), 0)

    # --- hands

    def click(self, testid):
        element = self.find(testid)
        self.js(INTO_VIEW, element)
        element.click()

    def enter(self, testid, text, *keys):
        """Replaces what is in a field, then presses keys there."""
        element = self.find(testid)
        self.js(INTO_VIEW, element)
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(Keys.DELETE)
        if text:
            element.send_keys(text)
        if keys:
            self.press(*keys, at=element)

    def paste(self, testid, text):
        """Like `enter` for long texts."""
        self.js(SET_VALUE, self.find(testid), text, "input")

    def press(self, *keys, at=None):
        """Keys one after the other; a tuple is a chord."""
        actions = ActionChains(self.driver, duration=0)
        if at is not None:
            self.js("arguments[0].focus()", at)
        for key in keys:
            chord = key if isinstance(key, tuple) else (key,)
            for held in chord[:-1]:
                actions.key_down(held)
            actions.send_keys(chord[-1])
            for held in reversed(chord[:-1]):
                actions.key_up(held)
        actions.perform()

    def choose(self, testid, value):
        """An entry of a select, once it is there."""
        self.wait(f"{value} in {testid}", lambda: self.all(f'[data-testid="{testid}"] option[value="{value}"]'))
        self.slide(testid, value)

    def slide(self, testid, value):
        self.js(SET_VALUE, self.find(testid), str(value), "input", "change")

    def tick(self, testid, on):
        box = self.find(testid)
        if box.is_selected() != on:
            self.click(testid)

    def hover(self, testid, x, y):
        """The pointer to a place of an element, in pixels from its upper left."""
        element = self.find(testid)
        self.js(INTO_VIEW, element)
        box = element.rect
        ActionChains(self.driver, duration=0).move_to_element_with_offset(
            element, round(x - box["width"] / 2), round(y - box["height"] / 2)
        ).perform()

    def focused(self):
        return self.js("return document.activeElement?.dataset?.testid ?? null")
