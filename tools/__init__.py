"""What builds, checks and publishes the course. The Makefile calls these as `python -m tools.NAME`.

- `check`: every check, the work of `make test`; `prose` and `browser` serve it.
- `notebook`: executes notebooks; `first_run`: Chapter 0 at the terminal.
- `site`: the course as pages.
- `links`, `versions`, `gpu_tables`, `write_data`, `write_flashcards`, `write_images`: files that
  are generated.
- `update`: newer versions of what the course needs; `rehearse_colab`, with `colab`: Colab's.
"""
