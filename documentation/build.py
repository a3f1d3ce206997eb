"""Build the site in `_site/` and write README.md, without Quarto: nbdev's processors, then smalldocs.

`nbdev_docs` renders the same `nbs/_quarto.yml` with Quarto; this way, `make docs`, needs Python packages only.
"""

import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

import nbdev.quarto
from nbdev.config import get_config
from nbdev.serve import proc_nbs
from smalldocs.config import load
from smalldocs.site import Page, Site

QUARTO_ONLY = re.compile(r"keep-md|commonmark|output-file")  # Options that smalldocs warns of


class FoodvisionSite(Site):
    "smalldocs' site with two things it leaves to Quarto: `output-file`, and addresses of this site's own pages"

    def read(self, src: PurePosixPath) -> Page:
        "nbdev leaves out the number of a chapter: 07_model.ipynb becomes model.html"
        page = super().read(src)
        page.out = page.out.with_name(page.front.get("output-file", page.out.name))
        return page

    def resolve(self, href: str, page: Page | None, record: bool = True) -> str:
        "nbdev links a name in backticks to its page on the published site; here that is a page beside this one"
        address = self.project.website["site-url"] + "/"
        if page and href.startswith(address):
            path, _, anchor = href.removeprefix(address).partition("#")
            for found in (p for p in self.pages.values() if str(p.out) == path):
                href = f"/{found.src}#{anchor}"
        return super().resolve(href, page, record)


def replace(source: Path, folder: Path):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def main(root: Path) -> list[str]:
    "Build the site of the project at `root` in `root/_site` and write its README.md; returns smalldocs' warnings"
    config = get_config(path=root)
    # `pre-render` and `post-render` run `foodvision` and `python` of this environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    nbdev.quarto.refresh_quarto_yml()
    # The notebooks as nbdev hands them to Quarto: names documented, hidden cells gone, links made.
    processed = proc_nbs(config.nbs_path, n_workers=2, force=True)
    site = FoodvisionSite(load(processed), quiet=True)
    site.build()
    for theme in site.out.glob("site_libs/themes/*.css"):  # no fonts from another host
        css = theme.read_text(encoding="utf-8")
        theme.write_text(re.sub(r"@import\s*url\([^)]*\);?", "", css), encoding="utf-8")
    write_readme(config, site.out, root)
    replace(site.out, root / "_site")
    shutil.rmtree(processed)
    return [warning for warning in site.warnings if not QUARTO_ONLY.search(warning)]


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
    replace(site / "index_files", root / "index_files")


if __name__ == "__main__":  # nbdev starts workers that import this file
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    faults = main(Path.cwd())
    print(*[f"fault: {fault}\n" for fault in faults], f"The site: {Path.cwd() / '_site'}", sep="")
    sys.exit(bool(faults))
