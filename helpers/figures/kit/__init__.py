"""The drawing kit: boxes, tokens, matrices, grids, timelines, arrows. One meaning for each color.

A drawing starts with `canvas`, whose unit is an inch of the page, so text keeps its size beside
what it labels. Shapes return where they are, as a `Box`; arrows go from one `Box` to another.
Nothing is smaller than `SMALL`, and no drawing is wider than `WIDTH`, so that a phone can show it.
"""

from helpers.figures.kit.canvas import ROLES, SMALL, TEXT, WIDTH, Box, Point, Role, canvas, label
from helpers.figures.kit.lines import arrow, connect, frame, key, route
from helpers.figures.kit.shapes import box, grid, matrix, timeline, tokens

__all__ = [
    "ROLES",
    "SMALL",
    "TEXT",
    "WIDTH",
    "Box",
    "Point",
    "Role",
    "arrow",
    "box",
    "canvas",
    "connect",
    "frame",
    "grid",
    "key",
    "label",
    "matrix",
    "route",
    "timeline",
    "tokens",
]
