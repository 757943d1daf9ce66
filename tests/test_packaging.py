"""What is published is whole: versions agree, extras bring what they promise, an installed wheel runs and has types."""

import ast
import functools
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import unseen

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "unseen"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
IN_SDIST = ("src", "tests", "docs", "benchmarks", "experiments", ".github")


def of_extra(extra):
    """What an extra asks for, with the extras that it includes."""
    found = []
    for requirement in map(Requirement, EXTRAS[extra]):
        if canonicalize_name(requirement.name) == "unseen":
            found += [asked for inner in sorted(requirement.extras) for asked in of_extra(inner)]
        else:
            found.append(requirement)
    return found


def pins():
    """``constraints.txt`` as name and version, one of each."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, version = line.split("==")
            assert canonicalize_name(name) not in found, f"{name} has two pins"
            found[canonicalize_name(name)] = version
    return found


def providers():
    """Import name -> the distributions here that bring it."""
    found = importlib.metadata.packages_distributions()
    return {module: {canonicalize_name(name) for name in names} for module, names in found.items()}


@functools.cache
def trees(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [(path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def asked_extras():
    """Each pair of module and extra in a call of ``require``; a module that a variable holds is None."""
    found = set()
    for path, tree in [*trees("src"), *trees("benchmarks"), *trees("experiments")]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                module, extra = node.args
                assert isinstance(extra, ast.Constant), f"{path}:{node.lineno}: write the extra's name there"
                found.add((module.value if isinstance(module, ast.Constant) else None, extra.value))
    return sorted(found, key=str)


# Versions and names.


def test_the_version_is_one():
    assert importlib.metadata.version("unseen") == unseen.__version__, "install again: rm .venv/.dev, make test"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+)", changes, re.MULTILINE)
    released = [name for name in headings if name != "Unreleased"]
    if headings[0] == "Unreleased":
        unreleased = changes.split("\n## ")[1]
        assert f"\nTo become {unseen.__version__}.\n" in unreleased, "say which version it is to become"
        assert unseen.__version__ not in released
    else:
        assert released[0] == unseen.__version__


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    asked = [*CORE, *map(Requirement, PYPROJECT["build-system"]["requires"]), *of_extra("dev")]
    exact = {canonicalize_name(r.name): part.version for r in asked for part in r.specifier if part.operator == "=="}
    pinned = {**exact, **pins()}
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name}: add the tested version to constraints.txt"
        assert requirement.specifier.contains(pinned[name], prereleases=True), f"{requirement}, but {pinned[name]}"


def test_the_extra_for_developers_holds_all_others():
    every = {str(requirement) for extra in EXTRAS for requirement in of_extra(extra)}
    assert {str(requirement) for requirement in of_extra("dev")} == every


def test_what_is_installed_fits_together():
    """`pip check` of what this project brings, and of the extras that are here, which `pip check` does not look at."""
    waiting = [(requirement, "unseen") for requirement in CORE]
    for extra in EXTRAS:
        waiting += [(requirement, None) for requirement in of_extra(extra)]
    seen, wrong = set(), []
    while waiting:
        requirement, by = waiting.pop()
        if (str(requirement), by) in seen:
            continue
        seen.add((str(requirement), by))
        try:
            found = importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            if by:
                wrong.append(f"{by} needs {requirement}, which is missing")
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            wrong.append(f"{by or 'an extra'} needs {requirement}, here is {found.version}")
        for line in found.requires or []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                waiting.append((inner, requirement.name))
    assert len(seen) > 50
    assert wrong == []


# What the code imports, and what messages tell the user to install.


def test_core_dependencies_are_what_the_code_imports():
    """One too few works only for developers, who have everything; one too many is downloaded for nothing."""
    modules = set()
    for _, tree in trees("src"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    modules -= {*sys.stdlib_module_names, "unseen"}
    known = providers()
    core = {canonicalize_name(requirement.name) for requirement in CORE}
    assert {module for module in modules if not known.get(module, set()) & core} == set()
    assert core == {name for module in modules for name in known[module] & core}


@pytest.mark.parametrize(("module", "extra"), asked_extras())
def test_an_extra_brings_the_module_for_which_it_is_named(module, extra):
    assert extra in EXTRAS
    if module is None:
        return
    brought = {canonicalize_name(requirement.name) for requirement in of_extra(extra)}
    root = module.split(".")[0]
    here = providers().get(root)
    if here is None and canonicalize_name(root) not in brought:
        pytest.skip(f"{root} is not installed, so nothing says which distribution brings it")
    assert (here or {canonicalize_name(root)}) & brought


def test_extras_that_are_named_anywhere_exist():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Makefile", ROOT / "constraints.txt"]
    named = {}
    for path in [*pages, *PACKAGE.rglob("*.py")]:
        for extras in re.findall(r"'(?:unseen|\.)\[([\w,-]+)\]'", path.read_text(encoding="utf-8")):
            named |= {extra: path.relative_to(ROOT) for extra in extras.split(",")}
    del named["extra"]  # stands for a name in the docstring of `require`
    assert {extra: path for extra, path in named.items() if extra not in EXTRAS} == {}
    assert {"dev", "packaged", "onnx"} <= named.keys()


# The public continuous integration.


def test_the_workflow_runs_what_the_metadata_promises():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["test"]
    versions = job["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: "
    assert [prefix + version for version in versions] == [c for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert sorted(versions, key=Version) == versions
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test"]
    assert "secrets." not in text
    assert "://" not in text  # an index is the reader's choice, and a variable of the repository


# The archives, and the package as a user has it.


def run(*command, cwd, code=0):
    """Run a program that cannot see the source tree; what it printed."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYPY", "PIP"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist and, built from it, the wheel, as `make dist` builds them; no index is asked."""
    for module in ("build", "hatchling"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -c constraints.txt -e '.[dev]'")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    name = f"unseen-{unseen.__version__}"
    assert {path.name for path in folder.iterdir()} == {f"{name}.tar.gz", f"{name}-py3-none-any.whl"}
    return SimpleNamespace(name=name, sdist=folder / f"{name}.tar.gz", wheel=folder / f"{name}-py3-none-any.whl")


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The wheel in an environment of its own, which borrows the dependencies of this one but not its `unseen`."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False)
    place = {"base": str(root), "platbase": str(root)}
    scripts, site = (Path(sysconfig.get_path(kind, "venv", place)) for kind in ("scripts", "purelib"))
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", built.wheel, cwd=root)
    # A folder named in a .pth file is searched, but the .pth files in it are not read: an editable `unseen` stays out.
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "others.pth").write_text("\n".join(others), encoding="utf-8")
    return SimpleNamespace(python=scripts / "python", unseen=scripts / "unseen", site=site)


def files(folder):
    """Files below a folder of the source tree, without what programs leave there."""
    found = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()]
    left = re.compile(r"(^|/)(\.|__pycache__/|_build/)")
    return {f"{folder}/{path.as_posix()}" for path in found if not left.search(path.as_posix())}


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.startswith(f"{built.name}.dist-info/")}
    assert names - about == {name.removeprefix("src/") for name in files("src")}
    assert {"unseen/py.typed", "unseen/report/templates/page.html", "unseen/report/templates/page.css"} <= names
    assert f"{built.name}.dist-info/licenses/LICENSE" in about


def test_the_sdist_holds_all_that_the_tests_read(built):
    with tarfile.open(built.sdist) as archive:
        names = {member.name.removeprefix(f"{built.name}/") for member in archive.getmembers() if member.isfile()}
    assert {name for folder in IN_SDIST for name in files(folder)} - names == set()
    pages = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"}
    rest = {*pages, "Makefile", "constraints.txt", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert {name for name in names if name.split("/")[0] not in IN_SDIST} == rest
    assert built.sdist.stat().st_size < 2_000_000  # no data and no weights


def test_the_installed_program_runs_in_another_folder(installed, tmp_path):
    said = run(installed.python, "-c", "import unseen; print(unseen.__file__)", cwd=tmp_path)
    assert Path(said.strip()).is_relative_to(installed.site)
    assert run(installed.unseen, "--version", cwd=tmp_path).split()[-1] == unseen.__version__
    assert "audit" in run(installed.unseen, "--help", cwd=tmp_path)
    assert "mahalanobis" in run(installed.unseen, "list", cwd=tmp_path)


@pytest.mark.slow
def test_the_installed_program_does_the_main_job_in_another_folder(installed, tmp_path):
    assert "The page: unseen-demo/report.html" in run(installed.unseen, "demo", cwd=tmp_path)
    assert "</html>" in (tmp_path / "unseen-demo" / "report.html").read_text(encoding="utf-8")


def test_a_type_checker_sees_the_types_of_the_installed_package(installed, tmp_path):
    wrong = {
        'unseen.create("knn", k=5)': None,
        "unseen.create(5)": "arg-type",
        "unseen.create()": "call-arg",
        'unseen.crate("knn")': "attr-defined",
        'unseen.KNN(k="five")': "arg-type",
        'unseen.fit("photos", alfa=0.1)': "call-arg",
    }
    (tmp_path / "user.py").write_text("\n".join(["import unseen", *wrong]), encoding="utf-8")
    # Others' types take 10 s to read and are not what is asked here.
    skipped = "[mypy-torch.*,numpy.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nignore_missing_imports = true\n{skipped}", encoding="utf-8"
    )
    mypy = (sys.executable, "-m", "mypy", "--python-executable", installed.python, "--cache-dir", tmp_path / "cache")
    said = run(*mypy, "--config-file", "mypy.ini", "user.py", cwd=tmp_path, code=1)
    found = re.findall(r"^user\.py:(\d+): error: .*\[([\w-]+)\]$", said, re.MULTILINE)
    assert found == [(str(line), code) for line, code in enumerate(wrong.values(), start=2) if code]
