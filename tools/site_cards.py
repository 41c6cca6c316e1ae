"""Turn decks of flashcards into pages whose cards turn.

A deck is `helpers/data/flashcards/<notebook's stem>.md`: `## id`, then paragraphs that begin with
`**Q.**`, then paragraphs that begin with `**A.**`.
"""

import html
import re

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


def cards(deck: str) -> list[tuple[str, str, str]]:
    r"""Return identifier, question and answer (both Markdown) of each card of a deck.

    Raises:
        ValueError: A card lacks its question or its answer, or two share an identifier.

    Example:
        >>> cards("## rank\n\n**Q.** What is $r$?\n\n**A.** The rank.")
        [('rank', 'What is $r$?', 'The rank.')]
    """
    found = []
    for block in re.split(r"^## ", deck, flags=re.MULTILINE)[1:]:
        name, _, body = block.partition("\n")
        parts = re.fullmatch(r"\s*\*\*Q\.\*\* (.+?)\n\s*\*\*A\.\*\* (.+?)\s*", body, re.DOTALL)
        if parts is None:
            raise ValueError(f"card {name.strip()!r} needs a paragraph '**Q.** …', then '**A.** …'")
        if name.strip() in {card[0] for card in found}:
            raise ValueError(f"two cards are called {name.strip()!r}: rename one")
        found.append((name.strip(), parts[1].strip(), parts[2].strip()))
    return found


def deck_page(deck: str, *, title: str, chapter: str) -> str:
    """Return the page of a deck.

    Args:
        deck: The deck's Markdown.
        title: The chapter's title.
        chapter: Path from this page to the chapter.
    """
    found = cards(deck)
    opening = f"""\
# Flashcards: {title}

{len(found)} cards of the chapter [{title}]({chapter}). Say the answer aloud, then turn the card:
click it, or press <kbd>Enter</kbd> or <kbd>Space</kbd> on its button.
"""
    pages = [
        CARD.format(
            id=html.escape(name),
            number=i + 1,
            total=len(found),
            question=question,
            answer=answer,
        )
        for i, (name, question, answer) in enumerate(found)
    ]
    return "\n".join([opening, *pages])


def decks_page(titles: dict[str, tuple[str, int]]) -> str:
    """Return the page that lists the decks.

    Args:
        titles: Title of the chapter and number of cards, by the chapter's stem.
    """
    rows = [f"- [{title}]({stem}.md), {n} cards" for stem, (title, n) in titles.items()]
    tree = ["```{toctree}", ":hidden:", "", *titles, "```", ""]
    opening = "What you say aloud, you keep. One deck for each chapter:"
    return "\n".join(["# Flashcards", "", opening, "", *rows, "", *tree])
