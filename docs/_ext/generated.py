"""Parts of pages that are made from the code when the pages are built, so that they cannot go out of date."""

import checks_reference
import command_reference

# Page -> the mark on it that is replaced, and what makes the text.
MADE = {
    "cli": ("<!-- the commands -->", command_reference.markdown),
    "checks": ("<!-- the checks -->", checks_reference.markdown),
}


def _fill(_app, docname, source) -> None:
    if docname in MADE:
        place, markdown = MADE[docname]
        source[0] = source[0].replace(place, markdown())


def _always(_app, _env, _added, _changed, _removed) -> list[str]:
    return list(MADE)  # made from code, so the page's own date says nothing


def setup(app):
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", _always)
    return {"parallel_read_safe": True}
