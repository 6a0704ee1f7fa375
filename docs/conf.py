"""How Sphinx builds the documentation: `make docs`."""

import re
from importlib.metadata import version as version_of
from typing import Any

from sphinx.application import Sphinx

project = "rds_iam_async"
author = "The rds_iam_async authors"
copyright = "2026, the rds_iam_async authors"
release = version_of("rds-iam-async")
version = release.partition("+")[0]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "grafana"]
templates_path: list[str] = []

# Markdown, with headings that can be linked to.
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# Docstrings say `name` as in Markdown; their types are in the annotations.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autoclass_content = "both"  # what a constructor takes stands in its own docstring
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
napoleon_use_ivar = True  # the attributes of a fact in one list
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "rds_iam_async"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6f8b", "color-brand-content": "#1f6f8b"},
    "dark_css_variables": {"color-brand-primary": "#6fc3df", "color-brand-content": "#6fc3df"},
}
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Let docstrings hold code as editors show it best: between Markdown's fences."""
    app.connect("autodoc-process-docstring", fences_to_directives, priority=400)
    app.connect("autodoc-process-signature", as_callers_see_it)
    app.connect("html-page-context", with_breaks_in_long_names)


LONG_NAME = re.compile(r'(?<=<span class="pre">)[^<>]{16,}(?=</span>)')
JOINT = re.compile(r"(?<=[_./=])(?=\w)|(?<=[a-z])(?=[A-Z])")


def with_breaks_in_long_names(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Let browsers break `test_of_something_long` between its words, as a table needs it."""
    if "body" in context:
        context["body"] = LONG_NAME.sub(lambda name: JOINT.sub("<wbr>", name[0]), context["body"])


def as_callers_see_it(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Return a signature as it is meant: no private names, and no constructor of a protocol."""
    if getattr(obj, "_is_protocol", False):
        return "", None
    if name.endswith(".open_engine") and returns:
        kind = (
            "AbstractAsyncContextManager" if "AsyncEngine" in returns else "AbstractContextManager"
        )
        returns = f"~contextlib.{kind}{returns[returns.index('[') :]}"
    return signature and signature.replace("_DEFAULT_POLICY", "RefreshPolicy()"), returns


def fences_to_directives(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Write fenced code as reStructuredText, before Google's sections are read."""
    written: list[str] = []
    within: str | None = None  # the indentation of the fence that is open
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        if line.lstrip().startswith("```"):
            if within is None:
                within = indent
                written += [f"{indent}.. code-block:: {line.strip().strip('`')}", ""]
            else:
                within = None
                written.append("")
        else:
            written.append(line if within is None or not line else f"   {line}")
    lines[:] = written
