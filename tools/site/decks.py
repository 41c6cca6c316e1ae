"""Turn decks of flashcards into pages whose cards turn."""

import html

from helpers.flashcards import Deck
from tools.site import pages

CARD = """\
<div class="flashcard" id="{id}" role="group" aria-label="Card {number} of {total}">
<div class="flashcard-face flashcard-question">
<p class="flashcard-label">Question</p>

{question}

</div>
<div class="flashcard-face flashcard-answer">
<p class="flashcard-label">Answer</p>

{answer}

</div>
</div>
"""


def deck_page(deck: Deck, *, title: str, chapter: str) -> str:
    """Return the page of a deck.

    Args:
        deck: Its links are written as from beside the notebooks.
        title: The chapter's title.
        chapter: Path from this page to the chapter.
    """
    opening = f"""\
# Flashcards: {title}

{len(deck.cards)} cards of the chapter [{title}]({chapter}). Say the answer aloud, then turn the
card: click it, or press <kbd>Enter</kbd> or <kbd>Space</kbd> on its button.
"""
    shown = [
        CARD.format(
            id=html.escape(card.id),
            number=i + 1,
            total=len(deck.cards),
            question=pages.from_notebooks(card.question, folder="../notebooks/"),
            answer=pages.from_notebooks(card.answer, folder="../notebooks/"),
        )
        for i, card in enumerate(deck.cards)
    ]
    return "\n".join([opening, *shown])


def decks_page(titles: dict[str, tuple[str, int]]) -> str:
    """Return the page that lists the decks.

    Args:
        titles: Title of the chapter and number of cards, by the chapter's stem.
    """
    rows = [f"- [{title}]({stem}.md), {n} cards" for stem, (title, n) in titles.items()]
    tree = ["```{toctree}", ":hidden:", "", *titles, "```", ""]
    opening = "What you say aloud, you keep. One deck for each chapter:"
    return "\n".join(["# Flashcards", "", opening, "", *rows, "", *tree])
