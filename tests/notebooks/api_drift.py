"""Compare the keyword arguments of library calls in our code with the installed signatures."""

import ast
import inspect
import re
from types import ModuleType
from typing import Any

LIBRARIES = ("trl", "peft", "transformers", "datasets", "bitsandbytes")
FORWARDED_TO = {
    "AutoConfig.for_model": "transformers.models.llama.configuration_llama",
    "AutoModelForCausalLM.from_pretrained": "transformers.modeling_utils",
    "AutoModelForCausalLM.from_config": "transformers.modeling_utils",
    "AutoTokenizer.from_pretrained": "transformers.tokenization_utils_base",
    "PeftModel.from_pretrained": "peft.peft_model",
}


def drift(source: str) -> list[str]:
    """Return the calls of the libraries in `source` that the installed versions do not take.

    Names imported from the libraries are followed, attributes of them too
    (`AutoTokenizer.from_pretrained`). An import that fails, an attribute that is gone and a
    keyword that no parameter takes are each reported. A `**kwargs` is no excuse: a keyword that
    it swallows must be named, in quotes or as a parameter, in the module that it ends up in.

    Args:
        source: Python code without magics.

    Returns:
        A line for each problem.
    """
    tree = ast.parse(source)
    known, found = _imports(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        path = _path(call.func)
        if not path or path[0] not in known:
            continue
        name, target = ".".join(path), known[path[0]]
        try:
            for attribute in path[1:]:
                target = getattr(target, attribute)
            # some C types have no signature, and need none where they are called without keywords
            parameters = inspect.signature(target).parameters if call.keywords else {}
        except (AttributeError, ValueError, TypeError) as error:
            found.append(f"line {call.lineno}: {name}: {error}")
            continue
        swallows = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for keyword in call.keywords:
            if not keyword.arg or keyword.arg in parameters:
                continue
            if not (swallows and _is_named(keyword.arg, target, path)):
                found.append(f"line {call.lineno}: {name} takes no {keyword.arg!r}")
    return found


def _is_named(keyword: str, target: Any, path: list[str]) -> bool:
    """Return whether the module that a `**kwargs` ends up in names a keyword."""
    module = FORWARDED_TO.get(".".join(path[-2:])) or inspect.getmodule(target).__name__
    source = inspect.getsource(_module(module))
    return bool(re.search(rf"""["']{keyword}["']|^    +{keyword}: """, source, re.MULTILINE))


def _imports(tree: ast.AST) -> tuple[dict[str, Any], list[str]]:
    """Return what each local name stands for, and the imports that fail."""
    known: dict[str, Any] = {}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_ours(node.module):
            module = _module(node.module)
            for alias in node.names:
                if hasattr(module, alias.name):
                    known[alias.asname or alias.name] = getattr(module, alias.name)
                else:
                    found.append(f"line {node.lineno}: {node.module} has no {alias.name!r}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_ours(alias.name):
                    root = alias.name if alias.asname else alias.name.split(".")[0]
                    known[alias.asname or root] = _module(root)
    return known, found


def _is_ours(module: str | None) -> bool:
    return bool(module) and module.split(".")[0] in LIBRARIES


def _module(name: str) -> ModuleType:
    return __import__(name, fromlist=["_"])


def _path(node: ast.AST) -> list[str]:
    """Return `["a", "b"]` for the expression `a.b`, nothing for others."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = _path(node.value)
        return [*before, node.attr] if before else []
    return []
