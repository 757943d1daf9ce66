"""One self-contained page of HTML from results: it draws what it is given and computes nothing.

>>> import tempfile
>>> from pathlib import Path
>>> with tempfile.TemporaryDirectory() as folder:
...     page = render({"title": "Audit", "answer": "Nothing was asked."}, Path(folder) / "page.html")
...     "Nothing was asked." in page.read_text(encoding="utf-8")
True
"""

from unseen.report.page import render, thumbnail

__all__ = ["render", "thumbnail"]
