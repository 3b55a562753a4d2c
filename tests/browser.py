"""Pages in a real browser: Debian's Chromium, driven by Playwright; axe-core says who could not use them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

DESKTOP, PHONE = (1280, 900), (375, 812)
SCREENSHOTS = "SCREENSHOTS"  # a folder: what was seen is kept there, to be looked at
_AXE = Path(__import__("axe_playwright_python").__file__).with_name("axe.min.js")
_QUIET = ["--no-sandbox", "--disable-quic", "--disable-gpu", "--no-first-run", "--disable-sync"]


@dataclass
class Seen:
    """What happened while a page was open. ``requests``: to anything but the page itself and its own data."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    overflow_pixels: int = 0


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips where there is no Chromium: it is no Python package."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_QUIET)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, file: Path, *, size: tuple[int, int] = DESKTOP, scheme: str = "light"
) -> Iterator[tuple[Page, Seen]]:
    """The page of a file, in a profile of its own, and what it does."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page, seen = context.new_page(), Seen()
    address = file.absolute().as_uri()
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(address)
    seen.requests = [url for url in seen.requests if url != address and not url.startswith("data:")]
    yield page, seen
    context.close()


def look(
    browser: Browser, file: Path, *, size: tuple[int, int], scheme: str, keep: Path | None = None
) -> Seen:
    """Open a page, judge it by axe-core, and keep a picture of all of it in ``keep``."""
    with opened(browser, file, size=size, scheme=scheme) as (page, seen):
        judge(page, seen)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=keep / f"{file.stem}-{size[0]}-{scheme}.png", full_page=True)
    return seen


def judge(page: Page, seen: Seen) -> None:
    """Add what axe-core finds wrong, and how much wider than the window the page is."""
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    # all that it finds in order is many megabytes, which would take longer to hand over than to find
    violations: Any = page.evaluate("axe.run().then(found => found.violations)")
    seen.violations = [
        f"{one['id']} ({one['impact']}): {node['html'][:200]}" for one in violations for node in one["nodes"]
    ]
    seen.overflow_pixels = page.evaluate("document.documentElement.scrollWidth - innerWidth")


def assert_sound(browser: Browser, file: Path, *, keep: Path | None = None) -> None:
    """Quiet, alone, usable by everybody, no wider than the screen: on desk and phone, by day and night."""
    for size, scheme in ((DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")):
        seen = look(browser, file, size=size, scheme=scheme, keep=keep)
        assert seen == Seen(), f"{file.name}, {size[0]} wide, {scheme}: {seen}"
