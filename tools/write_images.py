"""Write the pictures of the Markdown pages into `images/`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from helpers import figures

IMAGES = Path(__file__).resolve().parent.parent / "images"

if __name__ == "__main__":
    figures.journey().figure.savefig(IMAGES / "journey.png", dpi=120)
