"""Prompts: published lists are what their authors wrote, own lists are checked line by line."""

import ast
import importlib.util
from pathlib import Path

import pytest

from unseen.errors import BadInput, WrongUse
from unseen.language import PROMPTS, clean, prompts
from unseen.language.templates import adjective_prompts, fill


def test_there_are_80_prompts_of_imagenet():
    found = prompts("imagenet")
    assert len(found) == len(set(found)) == 80
    assert (found[0], found[-1]) == ("a bad photo of a {}.", "a tattoo of the {}.")


def test_they_are_those_that_open_clip_has_too():
    """Read, not imported: `open_clip` loads a second or two of other packages."""
    spec = importlib.util.find_spec("open_clip")
    file = None if spec is None else Path(spec.origin).parent / "zero_shot_metadata.py"
    if file is None or not file.is_file():
        pytest.skip("open_clip is not installed")
    (theirs,) = [
        node.value
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "OPENAI_IMAGENET_TEMPLATES"
    ]
    written = [eval(compile(ast.Expression(one), "", "eval"))("{}") for one in theirs.elts]
    assert prompts("imagenet") == tuple(written)


def test_the_prompts_of_plp_end_in_full_stops_and_that_of_mcm_does_not():
    assert len(prompts("plp")) == 5
    assert all(prompt.endswith(".") for prompt in prompts("plp"))
    assert prompts("mcm") == ("a photo of a {}",)


@pytest.mark.parametrize("name", PROMPTS)
def test_each_prompt_has_one_place_for_the_name(name):
    assert len(set(PROMPTS[name])) == len(PROMPTS[name])
    assert prompts(list(PROMPTS[name])) == PROMPTS[name]


def test_adjectives_take_what_belongs_to_the_list():
    assert adjective_prompts("neglabel") == ("This is a {} photo",)
    assert len(adjective_prompts("csp")) == 4
    assert adjective_prompts("plp") == adjective_prompts(["a {}"]) == ("This is a {} photo.",)


def test_a_file_of_prompts(tmp_path):
    file = tmp_path / "own.txt"
    file.write_bytes("\ufeffein Foto von {c}, schön\r\n\r\nthe {}\n".encode())
    assert prompts(file) == prompts(str(file)) == ("ein Foto von {}, schön", "the {}")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"a {}\n\nno place\n", "own.txt line 3: the prompt 'no place' needs one {} where the name goes"),
        (b"{} and {}\n", "own.txt line 1: the prompt '{} and {}' needs one {} where the name goes"),
        (b"a {}\na {c}\n", "own.txt line 2: the prompt 'a {c}' comes twice: it would count twice in the average"),
        (b"a {}\ncaf\xe9 {}\n", "own.txt line 2: not UTF-8 text: save the file as UTF-8"),
        (b"\n", "own.txt: there is no prompt in it: write one a line, with {} for the name"),
    ],
)
def test_a_bad_file_of_prompts_is_named_with_its_line(tmp_path, lines, message):
    file = tmp_path / "own.txt"
    file.write_bytes(lines)
    with pytest.raises(BadInput) as caught:
        prompts(file)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_an_unknown_list_says_what_there_is():
    with pytest.raises(WrongUse, match=r"'imagnet' are neither registered \(plp, .*did you mean \"imagenet\""):
        prompts("imagnet")
    with pytest.raises(WrongUse, match="there is no prompt"):
        prompts([])


def test_names_go_in_as_they_are():
    assert fill("a {}.", "{c} %s \\1") == "a {c} %s \\1."
    assert clean("great__white_shark ") == "great white shark"
