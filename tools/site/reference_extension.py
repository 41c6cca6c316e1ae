"""An extension of Sphinx for the API reference: our docstrings, and links from chapters' code."""

import dataclasses
import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject, PyXRefRole
from sphinx.util.docutils import SphinxRole
from sphinx.util.inspect import stringify_signature

from tools.site.reference import FOLDER, PACKAGES, links_to

FIELD = re.compile(r"^(Returns|Yields|Source):", re.MULTILINE)
TAUGHT_IN = re.compile(r"^Taught in: (.+)$", re.MULTILINE)
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
NAME_IN_CODE = re.compile(
    r'(?<!<span class="o">\.</span>)'
    r'<span class="n">(\w+)</span><span class="o">\.</span><span class="n">(\w+)</span>'
)
PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")


class NameRole(SphinxRole):
    """Text in single backticks: a link if it names something in the reference, else code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link or the code."""
        name = self.text.removesuffix("()")
        if not NAME.fullmatch(name):
            return [nodes.literal(self.rawtext, self.text)], []
        module, dot, _ = name.partition(".")
        if dot:  # `rows.read`, as a reader of `from onegpu import rows` writes it
            packages = [p for p in PACKAGES if module in importlib.import_module(p).__all__]
            name = ".".join([*packages[:1], name])
        text = f"{self.text} <{name}>"
        return PyXRefRole()("py:obj", self.rawtext, text, self.lineno, self.inliner)


def _read_docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]):
    """Make fields of what napoleon would misread: a colon in Returns, and the course's own."""
    text = FIELD.sub(r":\1:", "\n".join(lines))
    if what == "module":  # its page tells where it is used
        text = TAUGHT_IN.sub("", text)
    if what == "property":  # an empty comment, or napoleon takes what is before a colon for a type
        text = f"..\n\n{text}"
    text = TAUGHT_IN.sub(lambda line: f":Taught in: {links_to(line[1].split(', '))}", text)
    lines[:] = text.split("\n")


def _sign(app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, None] | None:
    """Return the signature of a dataclass as a reader needs it; None leaves any other as it is."""
    if not dataclasses.is_dataclass(thing):
        return None
    made = {f.name: f.default_factory for f in dataclasses.fields(thing)}
    shown = []
    for parameter in inspect.signature(thing).parameters.values():
        if made[parameter.name] is not dataclasses.MISSING:
            parameter = parameter.replace(default=made[parameter.name]())
        if not parameter.name.startswith("_"):
            shown.append(parameter)
    return stringify_signature(inspect.Signature(shown), unqualified_typehints=True), None


def _rewrite_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any):
    """Lead `chat.show` in a chapter's code to the reference, and make parameters a list."""
    objects = app.env.domains.python_domain.objects

    def linked(code: re.Match) -> str:
        for package in PACKAGES:
            if found := objects.get(f"{package}.{code[1]}.{code[2]}"):
                address = app.builder.get_relative_uri(page, found.docname)
                return f'<a class="in-reference" href="{address}#{found.node_id}">{code[0]}</a>'
        return code[0]

    def listed(lines: re.Match) -> str:  # Sphinx writes definitions that define nothing
        return f'<ul class="sig-parameters">\n{lines[1].replace("dd>", "li>")}</ul>'

    if page.startswith("notebooks/"):
        context["body"] = NAME_IN_CODE.sub(linked, context["body"])
    if page.startswith(f"{FOLDER}/"):
        context["body"] = PARAMETERS.sub(listed, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the extension to Sphinx."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_role("name", NameRole())
    app.connect("autodoc-process-docstring", _read_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _sign)
    app.connect("html-page-context", _rewrite_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
