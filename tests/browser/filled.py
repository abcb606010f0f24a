# SPDX-License-Identifier: MIT
"""Every tab with something on it: what layout, contrast and pictures are looked at with."""


def fill_hub(page):
    page.tab("hub")
    page.wait("the model", lambda: page.all('[data-testid="info-id"]'))
    page.click("test-run")
    page.wait("the quick test", lambda: page.shown("test-result"))


def fill_architecture(page):
    page.tab("architecture")
    page.wait("the facts", lambda: page.shown("fact-layers"))
    page.click("layers-run")
    page.wait("the maps", lambda: page.all('[data-testid="layer-map-3"]'))
    page.wait("the heads", lambda: page.all('[data-testid="selected-head-7"]'))


def fill_stream(page):
    page.tab("stream")
    page.slide("stream-interval", 50)
    page.enter("stream-generate", "8")
    page.click("stream-start")
    page.wait("the end", lambda: page.raw("stream-state") == "done", limit=30)


def fill_eviction(page):
    page.tab("eviction")
    page.wait("the policies", lambda: page.all('[data-testid="policy-h2o"]'))
    page.click("eviction-compare")
    page.wait("the result", lambda: page.raw("eviction-result", "data-policies"), limit=30)


def fill_profile(page):
    page.tab("profile")
    page.wait("a result", lambda: page.shown("profile-cache"))
    page.choose("profile-text-sample", "0")
    page.wait("its length", lambda: page.value("profile-text-tokens") > 100)
    page.wait("that it may be clicked", lambda: page.find("profile-run").is_enabled())
    page.click("profile-run")
    page.wait("the measured blocks", lambda: page.value("context-now") == page.value("profile-text-tokens"))
    page.choose("profile-preset", "example")
    page.wait("blocks in every tier", lambda: all(page.value(f"tier-{i}-blocks") > 0 for i in range(3)))


# Where a picture of the tab begins, if not at its top.
FROM = {"eviction": "eviction-result"}
FILL = {"hub": fill_hub, "architecture": fill_architecture, "stream": fill_stream, "eviction": fill_eviction, "profile": fill_profile}
