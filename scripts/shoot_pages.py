"""Take the pictures of pages that README shows, of a workspace that ``fairbrush demo`` made.

    python scripts/shoot_pages.py fairbrush-demo

Writes docs/report-image.png and docs/report-map.png. Needs the extra ``dev`` and Chromium.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT = 1000, 860  # of a screen
ANSWER = """
    SELECT attribution_id FROM by_artist JOIN attribution USING (attribution_id)
    WHERE by_artist.image_path LIKE '%mixed-inset%' ORDER BY by_artist.recorded_at LIMIT 1
"""


def main() -> int:
    workspace = sys.argv[1]
    [row] = json.loads(run(workspace, "sql", ANSWER, "--json"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        image, overview = Path(folder, "image.html"), Path(folder, "overview.html")
        run(workspace, "report", "image", row["attribution_id"], "-o", str(image))
        run(workspace, "report", "overview", "-o", str(overview))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        shoot(page, image, DOCS / "report-image.png")
        shoot(page, overview, DOCS / "report-map.png", part="svg.map")
        browser.close()
    return 0


def run(workspace: str, *words: str) -> str:
    command = [sys.executable, "-m", "fairbrush", "--workspace", workspace, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def shoot(page: Page, file: Path, picture: Path, *, part: str | None = None) -> None:
    page.goto(file.absolute().as_uri())
    (page.locator(part) if part else page).screenshot(path=picture)


if __name__ == "__main__":
    sys.exit(main())
