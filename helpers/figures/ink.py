"""The colours that all drawings share."""

__all__ = ["EDGE", "FILL", "INK", "SOFT"]

FILL, EDGE, INK, SOFT = "#EAF3FA", "#0072B2", "#1A1A1A", "#555555"
