"""The command reference, made from the commands themselves."""

import re
import textwrap

import typer

from unseen.cli import app as commands


def markdown() -> str:
    """Every command with its help, arguments and options."""
    group = typer.main.get_command(commands)
    return "\n".join(_command(name, group.commands[name]) for name in group.commands)


def _command(name, command) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["unseen", name, *(a.name.upper() for a in arguments), "[OPTIONS]" if options else ""])
    parts = [f"## unseen {name}", _help(command.help or ""), f"```text\n{usage.strip()}\n```"]
    if arguments:
        parts.append(_table(("argument", "what it is"), [(f"`{a.name.upper()}`", _cell(a.help)) for a in arguments]))
    if options:
        rows = [(_names(o), _cell(o.help), _default(o)) for o in options]
        parts.append(_table(("option", "what it does", "default"), rows))
    return "\n\n".join(parts) + "\n"


def _help(text: str) -> str:
    text = textwrap.dedent(text).strip()
    return re.sub(r"^Example: `(.+)`$", r"```bash\n\1\n```", text, flags=re.MULTILINE)


def _names(option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    others = ", ".join(f"`{name}`" for name in option.secondary_opts)
    kind = "" if option.is_flag else f" *{_cell(option.metavar or 'VALUE')}*"
    return names + (f" / {others}" if others else "") + kind


def _default(option) -> str:
    value = option.default
    if value is None or value is False or callable(value):
        return ""
    if value is True:
        return f"`{option.opts[0]}`"
    return f"`{value}`"


def _cell(text) -> str:
    return " ".join((text or "").split()).replace("|", r"\|")


def _table(header, rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
