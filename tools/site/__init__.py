"""The course as static pages: `build` reads and writes; `pages`, `cards`, `api` make the text."""
