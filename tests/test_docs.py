"""The pages say what is so: commands, options, links, rooms, messages and examples are those of the code."""

import ast
import importlib.util
import re
import shlex
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from unseen import OpenSetClassifier, errors, registry
from unseen.api.demo import write_digits
from unseen.checks import _suite, check_detector, registered
from unseen.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
PACKAGE = ROOT / "src" / "unseen"
COMMANDS = typer.main.get_command(app).commands
FENCE = re.compile(r"^(`{3,}|:{3,})(.*?)\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture
def one_thread():
    """Tiny products on a busy machine: threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def text(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    return [body for _, info, body in FENCE.findall(text(page)) if info.strip() == language]


def prose(page):
    return FENCE.sub("", text(page))


def table(page, heading):
    """Cells of the first table below a heading, without its head."""
    below = f"\n{text(page)}".split(f"\n{heading}\n", 1)[1].split("\n## ")[0]
    rows = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def options(command):
    return {name for p in COMMANDS[command].params for name in [*p.opts, *p.secondary_opts] if name.startswith("-")}


def check_command(line):
    """One line of a shell that calls ``unseen``: the command and every option must exist."""
    words = shlex.split(line, comments=True)
    if len(words) == 1 or words[1] in ("--help", "-h", "--version"):
        return
    command, *rest = words[1:]
    assert command in COMMANDS, f"{line!r}: there is no command {command!r}"
    given = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    unknown = given - options(command) - {"--help", "-h"}
    assert not unknown, f"{line!r}: {command} has no option {', '.join(sorted(unknown))}"


def test_there_are_pages():
    assert {page.name for page in PAGES} >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "quickstart.md", "cli.md"}


@every_page
def test_commands_and_options_exist(page):
    for body in blocks(page, "bash"):
        for line in body.replace("\\\n", " ").splitlines():
            if re.match(r"(\S*/)?unseen( |$)", line):
                check_command(line)
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if re.match(r"unseen [a-z]", code) and "..." not in code:
            check_command(code)
        elif re.fullmatch(r"--[a-z][a-z-]*( .*)?", code):
            assert any(code.split()[0] in options(name) | {"--help", "--version"} for name in COMMANDS), code


def test_a_wrong_command_is_noticed():
    for line in ("unseen guess photos/", "unseen audit photos/ --detector knn", "unseen fit photos/ --jsn x"):
        with pytest.raises(AssertionError, match=r"there is no command|has no option"):
            check_command(line)


@every_page
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    asked = re.findall(r"`make ([a-z-]+)`", text(page))
    asked += [target for body in blocks(page, "bash") for target in re.findall(r"^make ([a-z-]+)", body, re.MULTILINE)]
    assert set(asked) <= targets


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(found), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


@every_page
def test_nothing_is_left_to_do(page):
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", text(page))


def test_rooms_are_the_layers_and_the_folders():
    rooms = [set(re.findall(r"`(\w+)`", row[0])) for row in table(DOCS / "architecture.md", "## Rooms")]
    contracts = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["type"] == "layers")["layers"]
    assert rooms == [{room.strip() for room in layer.split("|")} for layer in reversed(layers)]
    there = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()} - {"__init__"}
    assert set().union(*rooms) == there


def test_forbidden_imports_are_said():
    contracts = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    said = {row[0]: row[2] for row in table(DOCS / "architecture.md", "## Rooms")}
    for contract in contracts:
        if contract["type"] != "forbidden":
            continue
        for source in contract["source_modules"]:
            words = next(text for rooms, text in said.items() if f"`{source.split('.')[-1]}`" in rooms)
            missing = [m for m in contract["forbidden_modules"] if f"`{m.split('.')[-1]}`" not in words]
            assert not missing, f"{source} may not import {missing}, the page does not say so"


@pytest.mark.parametrize("room", registry.ROOMS)
def test_the_lists_of_parts_are_complete(room):
    kinds = (room, "steps") if room == "detectors" else (room,)
    rows = [cells[1] for cells in table(ROOT / "README.md", "## What works today") if cells[0].startswith(kinds)]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(registry.names(room))
    concepts = text(DOCS / "concepts.md")
    assert all(f"\n| `{name}` |" in concepts for name in registry.names(room))


def test_the_list_of_commands_is_complete():
    row = next(cells for cells in table(ROOT / "README.md", "## What works today") if cells[0] == "commands")
    assert set(re.findall(r"`(\w+)`", row[1])) == set(COMMANDS)


def test_exit_codes_are_those_of_the_errors():
    rows = table(DOCS / "exit-codes.md", "# Exit codes and messages")
    said = {name: int(row[0]) for row in rows for name in re.findall(r"`([A-Z]\w+)`", row[2])}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.UnseenError]
    assert said == {kind.__name__: kind.exit_code for kind in kinds}


def test_messages_are_those_of_the_code():
    """What stands between the dots is part of some string of the code."""
    strings = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(text(file))):
            if isinstance(node, ast.JoinedStr):
                strings.append("".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.append(node.value)
    code = "\n".join(strings)
    catalogue = text(DOCS / "exit-codes.md").split("\n## Data\n")[1]
    cells = re.findall(r"^\| (`.+?) \|", catalogue, re.MULTILINE)
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) > 30
    pieces = [piece.strip(" ,:;") for message in messages for piece in message.split("...")]
    assert [piece for piece in pieces if piece not in code] == []


def test_the_recipe_for_a_detector_works(tmp_path, monkeypatch):
    """One file: it is registered, the public checks find it and pass, and so do its oracle and its own tests."""
    source, golden, tests = blocks(DOCS / "add-a-detector.md", "python")
    name = "diagonal_mahalanobis"
    file = tmp_path / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"unseen.detectors.{name}", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    # As if the file lay in the folder.
    names = registry.names
    for place in (registry, _suite):
        monkeypatch.setattr(place, "names", lambda room: (*names(room), *([name] * (room == "detectors"))))

    part = next(part for part in registered("detectors") if part.name == name)
    space = {}
    exec(compile(golden, "add-a-detector.md", "exec"), space)
    outcome = check_detector(part, space["oracle"])
    assert "golden_values" in outcome.passed
    assert not outcome.skipped
    said = re.search(rf"^{name}: (\d+) checks passed, 0 skipped$", text(DOCS / "add-a-detector.md"), re.MULTILINE)
    assert int(said[1]) == len(outcome.passed) - 1

    space = {}
    exec(compile(tests, "add-a-detector.md", "exec"), space)
    own = [value for key, value in space.items() if key.startswith("test_")]
    assert len(own) == 2
    for test in own:
        test()

    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 6)) + 8 * np.eye(6)[np.arange(400) % 4]).astype(np.float32)
    guard = OpenSetClassifier("arrays", name).fit(x, np.arange(400) % 4)
    again = OpenSetClassifier.load(guard.save(tmp_path / "guard.unseen"))
    far = np.full((3, 6), 50, dtype=np.float32)
    assert again.predict(far).unseen.all()
    np.testing.assert_array_equal(again.predict(x).familiarity, guard.predict(x).familiarity)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "quickstart.md"], ids=lambda page: page.name)
def test_python_on_the_page_runs(page, tmp_path, monkeypatch, capsys):
    """In the order of the page, on the digits; their own pixels stand for the packaged network, which takes minutes."""
    write_digits(tmp_path, seed=0)
    (tmp_path / "known").rename(tmp_path / "photos")
    for folder in [*(tmp_path / "photos").iterdir(), *(tmp_path / "new").iterdir()]:
        for file in sorted(folder.iterdir())[40:]:
            file.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("unseen.encoders._encode.default_cache", lambda: tmp_path / "cache")
    small = {'"packaged"': '"pixels?size=8"', '("photos")': '("photos", "pixels?size=8")'}
    found = blocks(page, "python")
    assert found
    for body in found:
        code = body.replace('fit("photos", alpha', 'fit("photos", "pixels?size=8", alpha')
        for long, short in small.items():
            code = code.replace(long, short)
        exec(compile(code, page.name, "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    assert "mean AUROC" in said
    assert "'share_unseen'" in said
    assert (tmp_path / "guard.unseen").is_file()


def test_pictures_are_small_and_described():
    for picture in (DOCS / "_static").iterdir():
        assert picture.stat().st_size < 200_000
    for page in PAGES:
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text(page)):
            assert len(words) > 20, f"{page.name}: say in words what {target} shows"
