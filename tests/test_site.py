"README.md and the site: their files, and their pages in a browser"

import filecmp
import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import unquote

import chromium
import pytest
from conftest import ROOT

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
HOST = "127.0.0.1"


def faults(site: Path) -> list[str]:
    "Links and anchors that lead nowhere, whatever a page loads from another host, and pictures without a description"
    pages = {page.resolve(): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    found = set()
    for page, text in pages.items():
        loads = r'<(?:script|img|iframe)\b[^>]*?\bsrc="((?:https?:)?//[^"]+)|<link\b[^>]*?\brel="stylesheet"[^>]*?\bhref="(https?://[^"]+)'
        found |= {f"{page.name} loads {a or b}" for a, b in re.findall(loads, text)}
        found |= {
            f"{page.name} has a picture without alt text: {tag[:60]}"
            for tag in re.findall(r"<img\b[^>]*>", text)
            if not re.search(r'\balt="[^"]+"', tag)
        }
        lineless = re.findall(r'href="([^"]*\.py#L(?!\d)[^"]*)', text)
        found |= {f"{page.name} links to a line that does not exist: {link}" for link in lineless}
        prose = re.sub(r"<(pre|script|style)\b.*?</\1>", "", text, flags=re.S)
        found |= {
            f"{page.name} shows the Markdown of a link: {raw}"
            for raw in re.findall(r".{30}\]\([^)]{0,40}", prose)
        }
        unlinked = re.findall(
            r"(?<!\">)<code>((?:keras|tf|numpy|matplotlib|PIL)\.[A-Za-z][\w.]*)</code>(?!</a>)",
            prose,
        )
        found |= {
            f"{page.name} names {name} without a link: give it a page in documentation/links.py"
            for name in unlinked
        }
        for path, anchor in re.findall(
            r'\b(?:href|src)="(?!//)([^":#?]*)[^":#]*(?:#([^":]+))?"', text
        ):
            target = (page.parent / unquote(path)).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if (
                not target.exists()
                or anchor
                and target in pages
                and f'id="{unquote(anchor)}"' not in pages[target]
            ):
                found.add(f"{page.name} links to {path}{'#' + anchor if anchor else ''}")
    return sorted(found)


def test_site_builds_without_a_fault(built_site):
    assert (built_site / "faults.txt").read_text().splitlines() == []
    assert faults(built_site / "_site") == []


def test_faults_would_be_noticed(tmp_path):
    bad = {
        '<img src="a.png">': "without alt text",
        '<a href="missing.html">x</a>': "links to missing.html",
        '<a href="#nowhere">x</a>': "links to #nowhere",
        '<script src="https://example.org/a.js"></script>': "loads https://example.org",
        '<a href="https://example.org/run.py#LNone">x</a>': "a line that does not exist",
        "<p>Words before it, then [a link](page.ipynb) as text</p>": "shows the Markdown",
        "<p><code>keras.Model</code></p>": "names keras.Model without a link",
    }
    page = tmp_path / "page.html"
    page.write_text("<p><a href='#top' id='top'>x</a></p>")
    assert faults(tmp_path) == []
    for text, fault in bad.items():
        page.write_text(text)
        assert any(fault in found for found in faults(tmp_path)), text


def test_readme_is_what_the_home_page_says(built_site):
    committed, made = ((top / "README.md").read_text() for top in (ROOT, built_site))
    assert committed == made, "run `make docs` and commit README.md"
    names = {path.name for top in (ROOT, built_site) for path in top.glob("index_files/*")}
    _, changed, missing = filecmp.cmpfiles(
        ROOT / "index_files", built_site / "index_files", names, shallow=False
    )
    assert not changed + missing, "run `make docs` and commit index_files/"


def test_readme_stands_alone(built_site):
    text = (built_site / "README.md").read_text()
    relative = re.findall(r"\]\((?!https?://)[^)]*\.ipynb", text)
    assert not relative and ".llms.md" not in text
    assert all(command in text for command in ("make demo", "make test"))


def test_site_can_be_read_by_machines(built_site):
    "Each page has a copy as text; one file has all of them, one every public name"
    full, names = (built_site / "_site" / name for name in ("llms-full.txt", "apilist.txt"))
    assert "foodvision.training.train`" in names.read_text(encoding="utf-8")
    for page in (built_site / "_site").rglob("*.llms.md"):
        assert page.read_text(encoding="utf-8").strip() in full.read_text(encoding="utf-8")
    text = (built_site / "_site" / "llms.txt").read_text()
    for page in (built_site / "_site").rglob("*.html"):
        if page.parent.name != "try":  # the classifier, which is nothing to read
            assert page.relative_to(built_site / "_site").with_suffix(".llms.md").as_posix() in text


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A file server that says nothing"

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(built_site):
    "The site, served on this machine"
    handler = functools.partial(Quiet, directory=built_site / "_site")
    server = http.server.ThreadingHTTPServer((HOST, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    "A headless Chromium"
    if not chromium.find():
        pytest.skip(
            "no Chromium on this machine: `apt-get install chromium`, or run `make test` as root on Debian"
        )
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium.find(), args=flags)
        yield running
        running.close()


@pytest.fixture(
    params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join
)
def window(request, browser):
    "A window of one size and colour scheme, with what goes wrong in it collected in `troubles`"
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.troubles = []

    def said(message):
        if message.type in ("error", "warning"):
            page.troubles.append(message.text)

    def asked(request):
        if not request.url.startswith(("data:", "blob:", f"http://{HOST}:")):
            page.troubles.append(f"asks another host: {request.url}")

    def failed(request):
        if (
            request.failure != "net::ERR_ABORTED"
        ):  # The test left the page before its icon had come.
            page.troubles.append(f"{request.failure}: {request.url}")

    page.on("console", said)
    page.on("request", asked)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("requestfailed", failed)
    yield page
    context.close()


# One look at the pictures of a page: each may take five seconds to come, as Try it adds some when it knows them.
BROKEN = """() => Promise.all([...document.images].map(async picture => {
    const come = new Promise(done => ["load", "error"].forEach(event => picture.addEventListener(event, done)));
    if (!picture.complete) await Promise.race([come, new Promise(done => setTimeout(done, 5000))]);
    return picture.complete && picture.naturalWidth ? null : picture.src.slice(0, 80);
}))"""

TOO_WIDE = """[...document.querySelectorAll(".parameters")].map(
    box => Math.max(...[...box.querySelectorAll("table")].map(table => table.scrollWidth)) - box.clientWidth).filter(more => more > 1)"""


def test_every_page_in_a_browser(window, address, built_site):
    faults = {}
    for path in sorted((built_site / "_site").rglob("*.html")):
        name = path.relative_to(built_site / "_site").as_posix()
        window.troubles.clear()
        window.goto(f"{address}/{name}", wait_until="load")
        wide = window.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        broken = [source for source in window.evaluate(BROKEN) if source]
        sideways = [f"scrolls {wide} px sideways"] if wide > 0 else []
        sideways += [
            f"a table of parameters is {more} px too wide" for more in window.evaluate(TOO_WIDE)
        ]
        if found := window.troubles + sideways + [f"broken picture {source}" for source in broken]:
            faults[name] = found
    assert not faults


def test_no_page_shows_where_an_object_lay_in_memory(built_site):
    pages = (built_site / "_site").rglob("*.html")
    assert not [
        page.name
        for page in pages
        if re.search(r"object at 0x[0-9a-f]+", page.read_text(encoding="utf-8"))
    ]


CONTRAST = """element => {
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(part => part / 255)
        .map(part => part <= 0.04 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const [ground, text] = [element.closest(".smalldocs-search-results"), element];
    const levels = [light(getComputedStyle(ground).backgroundColor), light(getComputedStyle(text).color)].sort((a, b) => a - b);
    return (levels[1] + 0.05) / (levels[0] + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_search_finds_a_name_and_can_be_read(browser, address, scheme):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{address}/index.html")
    page.locator("input[type=search], .smalldocs-search input").first.fill("fine_tune")
    page.get_by_role("link", name="fine_tune").first.wait_for(timeout=5000)
    contrast = page.locator(".search-result-text").first.evaluate(CONTRAST)
    assert contrast >= 4.5, f"{contrast:.1f}: https://www.w3.org/TR/WCAG22/#contrast-minimum"
    context.close()


def test_try_it_answers_within_the_site(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.goto(f"{address}/index.html")
    link = page.locator("main").get_by_role("link", name="Try it", exact=True)
    assert link.bounding_box()["y"] < 900, "not on the first screen of the home page"
    link.click()
    inside = page.frame_locator("#try-it")
    inside.locator("html[data-state=ready][data-theme=light]").wait_for(
        state="attached", timeout=60_000
    )
    inside.locator(".example").first.click()
    inside.locator("#answer li").nth(4).wait_for()
    page.evaluate(
        "document.documentElement.classList.add('quarto-dark')"
    )  # what the site's switch does
    inside.locator("html[data-theme=dark]").wait_for(state="attached")
    frame = page.locator("#try-it")
    outer, inner = frame.evaluate(
        "(frame) => [frame.clientHeight, frame.contentDocument.body.scrollHeight]"
    )
    context.close()
    assert outer >= inner, "the frame scrolls"
