"""What a drawing shows, read back from its `Axes`."""


def words(ax):
    """Return what is written."""
    return [text.get_text() for text in ax.texts if text.get_text()]
