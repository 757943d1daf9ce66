"""The command line: each command reads its options, calls its verb and shows the result.

Command bodies import what they use, so that ``--help`` loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from unseen import __version__
from unseen.cli import (
    attack,
    audit,
    backbones,
    bench,
    cache,
    catalogue,
    demo,
    encode,
    export,
    extend,
    fit,
    info,
    reproduce,
    score,
    text,
    train,
)
from unseen.cli.screen import out

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Is this input something the model was ever taught?\n\n"
    "Start with `unseen demo`, then on your own folder (one sub-folder a class):\n\n"
    "- `unseen audit photos/`\n- `unseen fit photos/ -o guard.unseen`\n- `unseen score guard.unseen new/`\n\n"
    "Exit codes: 0 done; 1 a defect of ours; 2 wrong use; 3 bad input (with --strict also skipped inputs); "
    "4 damaged or foreign model file; 5 a missing extra; 6 disk or memory full; 130 interrupted.",
)


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Hold the options that come before a command."""
    if version:
        out.print(f"unseen {__version__}")
        raise typer.Exit


# A command is a function in a file of its own and is here called by its name, in the order of `unseen --help`.
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "audit": audit.audit,
    "bench": bench.bench,
    "backbones": backbones.backbones,
    "attack": attack.attack,
    "reproduce": reproduce.reproduce,
    "fit": fit.fit,
    "score": score.score,
    "encode": encode.encode,
    "text": text.text,
    "extend": extend.extend,
    "train": train.train,
    "cache": cache.cache,
    "export": export.export,
    "list": catalogue.catalogue,
    "info": info.info,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
