"Packaging: every fact comes from settings.ini, so that it stands once."

import configparser
import gzip
import os
import tarfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist


class ReproducibleArchive(sdist):
    "Same sources, same bytes: every date is SOURCE_DATE_EPOCH, nobody's name, two kinds of permissions"

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        date = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))

        def plain(member):
            member.mtime, member.uid, member.gid, member.uname, member.gname = date, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        path = Path(f"{base_name}.tar.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=date) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
                archive.add(base_dir, filter=plain)  # members in sorted order
        return str(path)


here = Path(__file__).parent
parser = configparser.ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
repository = settings["git_url"]

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=settings["keywords"].split(),
    author=settings["author"],
    author_email=settings["author_email"],
    url=repository,
    project_urls={
        "Documentation": settings["doc_host"] + settings["doc_baseurl"],
        "Source": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/{settings['branch']}/CHANGELOG.md",
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    # Said outright, so that an editable installation puts this folder on the path: nbdev finds documentation/ there.
    package_dir={"": "."},
    packages=find_packages(include=["foodvision", "foodvision.*"]),
    package_data={
        "foodvision": [
            "py.typed",
            "reference_results.json",
            "pretrained/food101/*",
            "page/*",
            "recipes/*.json",
            "templates/*",
            "vendored/litert/*",
        ]
    },
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    # One extra for each `NAME_requirements` of settings.ini.
    extras_require={
        key.removesuffix("_requirements"): settings[key].split()
        for key in settings
        if key.endswith("_requirements")
    },
    # The second entry lets nbdev, in this project or another, link a name in backticks to its page on the site.
    entry_points={
        "console_scripts": settings["console_scripts"].split("\n"),
        "nbdev": [f"{settings['lib_path']} = {settings['lib_path']}._modidx:d"],
    },
    cmdclass={"sdist": ReproducibleArchive},
    zip_safe=False,
)
