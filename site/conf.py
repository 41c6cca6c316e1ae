"""Sphinx settings of the rendered course. `tools/site/build.py` gathers its pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools import links

project = "Fine-Tuning LLMs on One GPU"
author = "The authors of the course"
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "tools.site.reference_extension",
]

nb_execution_mode = "off"  # what you read are the stored outputs
nb_merge_streams = True
nb_ipywidgets_js = {}  # would come from another host
myst_enable_extensions = ["attrs_inline", "dollarmath"]
myst_heading_anchors = 4
myst_heading_slug_func = "tools.site.pages.slug"

default_role = "name"  # of tools.site.reference_extension
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 72
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as the code has them; a path would be this machine's
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has the types

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_show_copyright = False
html_show_sphinx = False
html_use_index = False
html_scaled_image_link = False
html_domain_indices = False
html_theme_options = {
    "repository_url": f"https://github.com/{links.repository()}",
    "repository_branch": "main",
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "navbar_persistent": [],
    "footer_content_items": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}

mathjax_path = "mathjax/tex-svg.js"  # one file, with its glyphs; it asks no other host
mathjax3_config = {"options": {"enableMenu": False}}
copybutton_selector = "div.cell_input pre, div.highlight-python pre, div.highlight-bash pre"
