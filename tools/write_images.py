"""Write the pictures of the Markdown pages into `images/`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from helpers import figures

IMAGES = Path(__file__).resolve().parent.parent / "images"

if __name__ == "__main__":
    for draw in (figures.journey, figures.tunnel):
        draw().figure.savefig(IMAGES / f"{draw.__name__}.png", dpi=120)
