"""The course as static pages: `build` reads and writes; the others make the text of the pages."""
