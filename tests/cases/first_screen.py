"""This command makes the picture of a report's first screen that the README shows.

python tests/cases/first_screen.py PAGE PICTURE
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1400, 1000


def photograph(page: Path, picture: Path, scheme: str = "light") -> Path:
    """Write what a window of 1400 x 1000 pixels shows of a page, in 64 colours, and give the picture's path."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
        window.goto(page.resolve().as_uri())
        window.screenshot(path=picture)
        browser.close()
    with Image.open(picture) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)
    return picture


if __name__ == "__main__":
    photograph(*map(Path, sys.argv[1:3]))
