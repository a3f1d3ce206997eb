# Run before the pages are made (`pre-render` in _quarto.yml), by Quarto and by `make docs` alike: the page that
# try_it.ipynb shows, as `foodvision export food101 --format web --out try` writes it.
from foodvision.web import export_web

export_web("food101", "try", replace=True)
