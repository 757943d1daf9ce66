"""``unseen demo``: the whole way on data that is already installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.audit import show_audit
from unseen.cli.options import AlphaOption, DeviceOption, JsonOption, SeedOption, writable
from unseen.cli.score import show_scores
from unseen.cli.screen import finish, out, progress


def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")] = Path("unseen-demo"),
    encoder: Annotated[
        str, typer.Option("--encoder", "-e", metavar="NAME", help="An image encoder; see `unseen list`.")
    ] = "pixels?size=8",
    alpha: AlphaOption = 0.05,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Run the whole way on real data that is already installed: scikit-learn's handwritten digits.

    Seven digits are known. An audit holds each out in turn, a guard is fitted, and then it meets new images of the
    seven, the three digits it never saw, and two photographs. Ends with a table and a page to open.

    Example: `unseen demo -o demo`
    """
    writable(json)
    with progress() as report:
        from unseen.api.demo import demo as run

        found = run(folder, encoder=encoder, seed=seed, alpha=alpha, device=device, progress=report)

    def show() -> None:
        show_audit(found["audit"])
        out.print()
        show_scores(found["score"])
        out.print(f"\nThe page: {found['page']}", style="bold", soft_wrap=True)
        out.print("Next, your own folder with one sub-folder a class:  unseen audit photos/")

    finish(json, found, show)
