"""Write the flashcards of all chapters as an Anki package into `runs/`, and say where it lies."""

from helpers import environment, flashcards
from tools import links

if __name__ == "__main__":
    file = environment.runs_folder() / "flashcards.apkg"
    print("wrote", flashcards.write_anki(file, repository=links.repository()))
    print(f"{len(flashcards.decks())} decks; open it in Anki with File > Import")
