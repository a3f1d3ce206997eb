"""Build the site in `_site/` and write README.md, without Quarto: nbdev's processors, then smalldocs.

`nbdev_docs` renders the same `nbs/_quarto.yml` with Quarto. This way needs Python packages only, so every check of
the project can build the site, follow its links and open it in a browser. Run it with `make docs`.
"""

import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import nbdev.doclinks
import nbdev.quarto
from nbdev.config import get_config
from nbdev.serve import proc_nbs
from smalldocs.config import load
from smalldocs.site import Page, Site

# Said by smalldocs of options that only Quarto reads.
QUARTO_ONLY = re.compile(r"keep-md|commonmark|output-file")


class FoodvisionSite(Site):
    "smalldocs' site with two things it leaves to Quarto: `output-file`, and addresses of this site's own pages"

    def read(self, src: PurePosixPath) -> Page:
        "nbdev names a page without its chapter's number: 07_model.ipynb becomes model.html"
        page = super().read(src)
        page.out = page.out.with_name(page.front.get("output-file", page.out.name))
        return page

    def resolve(self, href: str, page: Page | None, record: bool = True) -> str:
        "nbdev links a name in backticks to its page on the published site; here that is a page beside this one"
        address = self.project.website["site-url"] + "/"
        if page and href.startswith(address):
            path, _, anchor = href.removeprefix(address).partition("#")
            found = next((p for p in self.pages.values() if str(p.out) == path), None)
            if found:
                href = f"/{found.src}#{anchor}"
        return super().resolve(href, page, record)


def main(root: Path) -> list[str]:
    "Build the site of the project at `root` in `root/_site` and write its README.md; returns what is wrong with it"
    config = get_config(path=root)
    os.environ["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `pre-render` runs `foodvision`
    )
    processed = processed_notebooks(config)
    project = load(processed)
    site = FoodvisionSite(project, quiet=True)
    site.build()
    for page in site.out.rglob("*.html"):
        drop_unknown_anchors(page)
    for theme in site.out.glob("site_libs/themes/*.css"):
        edit(
            theme, lambda text: re.sub(r"@import\s*url\([^)]*\);?", "", text)
        )  # fonts from another host
    write_readme(config, site.out, root)
    shutil.rmtree(root / "_site", ignore_errors=True)
    shutil.copytree(site.out, root / "_site")
    shutil.rmtree(processed)
    return [w for w in site.warnings if not QUARTO_ONLY.search(w)] + faults(root / "_site")


def processed_notebooks(config) -> Path:
    "The notebooks as nbdev hands them to Quarto: show_doc run, hidden cells gone, names linked"
    nbdev.quarto.refresh_quarto_yml()
    nbdev.doclinks._build_modidx()
    return proc_nbs(config.nbs_path, n_workers=2, force=True)


def edit(path: Path, change):
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def drop_unknown_anchors(page: Path):
    "A name that has no heading of its own (a method, a private helper) links to its page, not to an anchor there"

    def known(match: re.Match) -> str:
        target = (page.parent / unquote(match[1])).resolve() if match[1] else page
        has_it = target.exists() and f'id="{unquote(match[2])}"' in target.read_text(
            encoding="utf-8"
        )
        return match[0] if has_it else match[0].replace(f"#{match[2]}", "")

    # Only nbdev's own links, a name set as code, are mended; any other missing anchor is a fault.
    edit(page, lambda text: re.sub(r'<a href="([^"#:]*)#([^"]+)"(?=[^>]*><code>)', known, text))


def write_readme(config, site: Path, root: Path):
    "README.md from the Markdown copy of the home page, with absolute links; its pictures go to `index_files/`"
    address = f"{config.doc_host}{config.doc_baseurl}"
    text = (site / "index.llms.md").read_text(encoding="utf-8")
    text = re.sub(r"<style scoped>.*?</style>\n|<!-- WARNING.*?-->\n\n", "", text, flags=re.S)
    text = re.sub(r"</?div[^>]*>\n\n?", "", text)
    text = re.sub(r"(?<!!)(\[[^]]*\]\()(?!\w+:|#)([^)]+?)\.llms\.md", rf"\1{address}/\2.html", text)

    def absolute(match: re.Match) -> str:
        folder = "" if match[2].startswith("index_files") else f"{config.nbs_path.name}/"
        return f"{match[1]}{config.git_url}/raw/{config.branch}/{folder}{match[2]}"

    text = re.sub(r"(!\[[^]]*\]\()(?!\w+:)([^){]+\))(?:\{[^}]*\})?", absolute, text)
    note = f"<!-- Made from {config.nbs_path.name}/index.ipynb by `make docs`: edit that. -->\n\n"
    (root / "README.md").write_text(note + text, encoding="utf-8")
    shutil.rmtree(root / "index_files", ignore_errors=True)
    if (site / "index_files").exists():
        shutil.copytree(site / "index_files", root / "index_files")


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


if __name__ == "__main__":  # nbdev starts workers that import this file
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    problems = main(Path.cwd())
    for problem in problems:
        print(f"fault: {problem}")
    print(
        f"The site: {Path.cwd() / '_site' / 'index.html'}"
        + (f", with {len(problems)} faults" if problems else "")
    )
    sys.exit(bool(problems))
