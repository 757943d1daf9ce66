"""How the pages are built. Nothing is fetched: no inventories of other projects, no fonts, no scripts."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from unseen import __version__  # noqa: E402

project = "unseen"
author = "the unseen maintainers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated",
    "docstrings",
]
exclude_patterns = ["_build", "tables/**"]  # tables are included by pages, not pages themselves
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "code"  # docstrings name things in single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # "Attributes:" describes; the members themselves are listed by autodoc

html_theme = "furo"
html_title = f"unseen {version}"
html_static_path = ["_static"]
html_copy_source = False
html_show_sourcelink = False


INCLUDED = re.compile(r"```\{include\} (?P<path>tables/\S+)\n```\n")


def missing_tables(app, docname, source):
    """Say so where a table of measurements has not been made, in place of a failing include."""

    def replace(block):
        there = (HERE / block["path"]).is_file()
        return block[0] if there else "*These numbers have not been measured in this checkout yet.*\n"

    source[0] = INCLUDED.sub(replace, source[0])


def pages_with_tables(app, env, added, changed, removed):
    """A table may have come or gone since the last build."""
    return [name for name in env.found_docs if INCLUDED.search((HERE / f"{name}.md").read_text(encoding="utf-8"))]


def setup(app):
    app.connect("source-read", missing_tables)
    app.connect("env-get-outdated", pages_with_tables)
