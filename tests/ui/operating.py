"""A person in front of Dagster's UI: opens pages, clicks, reads, and keeps pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator, Page

LAPTOP = (1500, 1000)
WALL = (2400, 1000)
"""Wide enough for the graph to show more than names."""

TALL = (1700, 2000)
"""High enough for a page to show all of an asset."""

PATIENCE_MS = 120_000
USER = "ana@example.org"


@dataclass(frozen=True)
class Operator:
    """One browser window."""

    page: Page
    url: str
    location: str

    def open_graph(self, group: str, *, size: tuple[int, int] = LAPTOP) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.goto(f"{self.url}/locations/{self.location}/asset-groups/{group}")
        self.page.get_by_text("judged").first.wait_for()

    def open_asset(self, *key: str, size: tuple[int, int] = LAPTOP) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.goto(f"{self.url}/assets/{'/'.join(key)}")
        self.page.get_by_text("elspeth/run_id").first.wait_for()

    def open_launchpad(self) -> str:
        """From the graph; returns what the form holds."""
        everything = self._button("Materialize all")
        everything.locator("xpath=following::button[1]").click()
        self.page.get_by_text("Open launchpad").click()
        form = self.page.locator(".CodeMirror-code", has_text="limit").first
        form.wait_for()
        return form.inner_text()

    def set_limit(self, limit: int) -> None:
        """In the launchpad: over the word that is there."""
        self.page.get_by_text("all", exact=True).first.dblclick()
        self.page.keyboard.type(str(limit))
        self.page.get_by_text("No errors").wait_for()

    def materialize(self) -> str:
        """From the launchpad; returns the run's id."""
        self._button("Materialize").last.click()
        return self._run_id()

    def materialize_all(self) -> str:
        """From the graph, as it is declared; returns the run's id."""
        self._button("Materialize all").click()
        self.page.get_by_text("View", exact=True).last.click()
        return self._run_id()

    def terminate(self) -> None:
        """On a run's page."""
        self._button("Terminate").first.click()
        self._button("Terminate 1 run").click()

    def re_execute_from_failure(self) -> str:
        """On a run's page; returns the new run's id."""
        before = self._run_id()
        self._button("Re-execute").first.locator("xpath=following::button[1]").click()
        self.page.get_by_text("From failure", exact=True).first.click()
        self.page.wait_for_url(lambda url: "/runs/" in url and before not in url)
        return self._run_id()

    def wait_for_status(self, status: str) -> None:
        """On a run's page: as the tag at its top says."""
        self.page.get_by_text(status, exact=True).first.wait_for()

    def keep(self, name: str, *, clip: tuple[float, float, float, float] | None = None) -> None:
        """A picture for the docs, where somebody asks for them: ``UI_SCREENSHOTS=docs/images``.

        ``clip`` is the part that is kept: left, top, width, height.
        """
        folder = os.environ.get("UI_SCREENSHOTS")
        if folder:
            self.page.wait_for_timeout(2_500)  # charts, and the graph, draw themselves
            left, top, width, height = clip or (0, 0, *self._size())
            part: FloatRect = {"x": left, "y": top, "width": width, "height": height}
            self.page.screenshot(path=str(Path(folder) / name), clip=part)

    def _size(self) -> tuple[float, float]:
        size = self.page.viewport_size
        assert size is not None
        return size["width"], size["height"]

    def _button(self, text: str) -> Locator:
        return self.page.locator("button:visible", has_text=text)

    def _run_id(self) -> str:
        self.page.wait_for_url(re.compile("/runs/[0-9a-f-]{36}"))
        return self.page.url.rpartition("/runs/")[2][:36]


@contextmanager
def operator(chromium: str, url: str, location: str) -> Iterator[Operator]:
    """A window of headless Chromium, behind a proxy that vouches for its user."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(extra_http_headers={"X-Forwarded-User": USER})
        page.set_default_timeout(PATIENCE_MS)
        page.set_default_navigation_timeout(PATIENCE_MS)
        yield Operator(page, url, location)
        browser.close()
