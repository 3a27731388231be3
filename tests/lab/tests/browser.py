# SPDX-License-Identifier: LGPL-2.1-or-later
"""A page as a browser shows it, without a screen: chromium, which contrib/install-deps report installs."""

import html
import json
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import zlib

PROGRAM = shutil.which("chromium")
# Runs in a copy of the page that may run scripts; in units of the picture.
MEASURE = """<pre id="measured"></pre><script>
const svg = document.querySelector("svg"), boxes = [];
for (const e of svg.querySelectorAll("rect, text, line, polyline")) {
    const b = e.getBBox();
    boxes.push({tag: e.tagName, text: e.tagName == "text" ? e.textContent : "", x: b.x, y: b.y, w: b.width, h: b.height});
}
const page = document.documentElement, view = svg.viewBox.baseVal;
document.getElementById("measured").textContent = JSON.stringify(
    {boxes, view: {w: view.width, h: view.height}, shown: svg.getBoundingClientRect().width, font: parseFloat(
    getComputedStyle(svg.querySelector("text")).fontSize) * svg.getBoundingClientRect().width / view.width,
    wider: page.scrollWidth - page.clientWidth});
</script>"""


def browse(page, width, *options):
    """Standard output, and the folder, which is the caller's to remove, with what the browser wrote."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dhetcd-browser-"))
    (folder / "page.html").write_text(page)
    done = subprocess.run(
        [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile", f"--window-size={width},1400", *options,
         f"file://{folder}/page.html"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=True)
    return done.stdout, folder


def measure(page, width):
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", MEASURE + "</body>")
    text, folder = browse(page, width, "--dump-dom")
    shutil.rmtree(folder)
    return json.loads(html.unescape(re.search(r'<pre id="measured">(.*?)</pre>', text, re.S)[1]))


def screenshot(page, width):
    """The page as it is, as a PNG."""
    _, folder = browse(page, width, "--screenshot=page.png")
    picture = (folder / "page.png").read_bytes()
    shutil.rmtree(folder)
    return picture


def colours(png):
    """How many different bytes its lines of pixels are made of: of a blank one, a handful."""
    data, at = b"", 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        data += png[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return len(set(zlib.decompress(data)))


def outside(found):
    """What is not whole within the picture."""
    view = found["view"]
    return [b for b in found["boxes"] if b["x"] < -.5 or b["y"] < -.5 or b["x"] + b["w"] > view["w"] + .5 or
            b["y"] + b["h"] > view["h"] + .5]


def overlaps(found):
    """Pairs of texts, one on the other."""
    texts = [b for b in found["boxes"] if b["tag"] == "text"]
    return [(a["text"], b["text"]) for i, a in enumerate(texts) for b in texts[i + 1:]
            if min(a["x"] + a["w"], b["x"] + b["w"]) - max(a["x"], b["x"]) > .5 and
            min(a["y"] + a["h"], b["y"] + b["h"]) - max(a["y"], b["y"]) > 2.5]
