"""Docstrings state facts in lines such as ``Reads: ...``; on a page each fact gets a paragraph of its own."""

import re

FACT = re.compile(r"^(Reads|Writes|Returns|Raises|Cost|Source|Differs): (.+)$")


def separate(_app, _what, _name, _obj, _options, lines) -> None:
    """Put every fact, with the lines that go on from it, between blank lines and its word in bold."""
    result: list[str] = []
    inside = False
    for line in lines:
        fact = FACT.match(line)
        if fact:
            result += ["", f"**{fact[1]}:** {fact[2]}"]
            inside = True
        else:
            inside = inside and bool(line.strip())
            result.append(line.strip() if inside else line)
    lines[:] = result


def setup(app):
    app.connect("autodoc-process-docstring", separate, priority=100)  # before napoleon reads the sections
    return {"parallel_read_safe": True}
