"""Fetch LiteRT.js from npm into `foodvision/vendored/litert/`: `python recipes/vendored_litert.py`; it needs npm.

Run it to raise the version. Its output is committed, so an export, the site and all tests need neither npm nor a network.
The packages are pinned by version and by their npm integrity. Two places of `index.js` are changed, and the WebAssembly is
compressed with gzip; `origin.json` names the packages and the checksums of the files.
"""

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.5.3"
PACKAGES = {
    "@litertjs/core": "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "@litertjs/wasm-utils": "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
}
# `compat` does without relaxed SIMD, which some browsers lack, and is as fast with this model (benchmarks/web.py).
NAME = "litert_wasm_compat_internal"
CHANGES = {  # what is changed in index.js: the text there, the text here
    '"@litertjs/wasm-utils"': '"./wasm-utils.js"',  # a browser finds no package by its bare name
    "await Environment.create()": "await Environment.create({ webGpuDevice: null })",  # no look at the GPU while the page loads
}
NOTE = f"// @litertjs/core {VERSION}, Apache-2.0. Changed by foodvision in two places: see recipes/vendored_litert.py.\n"


def npm_package(name: str, version: str, integrity: str, folder: Path) -> Path:
    "The unpacked npm package; SystemExit unless it is the pinned one"
    if not shutil.which("npm"):
        raise SystemExit("npm is needed to get LiteRT.js. On Debian or Ubuntu: apt-get install npm")
    words = ["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemExit(f"npm could not get {name} {version}; is there a network? ({reason})")
    archive = folder / done.stdout.split()[-1]
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise SystemExit(
            f"{name} {version} is not the package that is pinned: its integrity is {found}"
        )
    target = folder / name.replace("/", "-")
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    return target / "package"


def main(out: Path):
    "Write the files of the runtime and `origin.json`"
    with tempfile.TemporaryDirectory() as place:
        core, utils = (
            npm_package(name, VERSION, integrity, Path(place))
            for name, integrity in PACKAGES.items()
        )
        index = (core / "dist" / "index.js").read_text(encoding="utf-8")
        for there, here in CHANGES.items():
            if index.count(there) != 1:
                raise SystemExit(f"index.js of this version has {there} {index.count(there)} times")
            index = index.replace(there, here)
        files = {
            "index.js": (NOTE + index).encode(),
            "wasm-utils.js": (utils / "dist" / "index.js").read_bytes(),
            f"{NAME}.js": (core / "wasm" / f"{NAME}.js").read_bytes(),
            f"{NAME}.wasm": (core / "wasm" / f"{NAME}.wasm").read_bytes(),
        }
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, content in files.items():
        if name.endswith(".wasm"):
            (out / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        else:
            content = b"\n".join(
                line
                for line in content.split(b"\n")
                if not line.startswith(b"//# sourceMappingURL=")
            )
            files[name] = content
            (out / name).write_bytes(content)
    shutil.copyfile(
        "LICENSE", out / "LICENSE"
    )  # the text of Apache-2.0, which the runtime is under as well
    facts = {
        "version": VERSION,
        "license": "Apache-2.0",
        "packages": PACKAGES,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    (out / "origin.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {out}, {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path("foodvision") / "vendored" / "litert")
    sys.exit()
