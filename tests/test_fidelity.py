"""Other libraries rank as ours do, or for a reason that is written down; every difference is, beside its method."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unseen import create, registry
from unseen.errors import MissingExtra

ROOT = Path(__file__).parent.parent


def script(folder, name):
    """A module of a folder that is no package; those beside it can be imported."""
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / folder))
    return module


COUNTERPARTS, TABLES = script("experiments", "counterparts"), script("docs", "tables")
MACHINE, POSTHOC = script("benchmarks", "machine"), script("benchmarks", "posthoc")
COMMITTED = json.loads((ROOT / "experiments" / "results" / "fidelity.json").read_text(encoding="utf-8"))
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "posthoc.json").read_text(encoding="utf-8"))
PAIRS = [(library.name, pair) for library in COUNTERPARTS.LIBRARIES for pair in library.pairs]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def given():
    return COUNTERPARTS.world(6, 16, 600, 120)


@pytest.fixture(scope="module")
def modules():
    found = {}
    for library in COUNTERPARTS.LIBRARIES:
        try:
            found[library.name] = library.load()[0]
        except (ImportError, MissingExtra):
            continue
    return found


def test_queries_are_half_known_and_known_apart(given):
    """The world is neither degenerate nor hopeless: a baseline finds most of the unknown half."""
    from unseen.metrics import auroc

    scores = create("mahalanobis").fit(given.known, given.labels).score(given.features)
    half = len(scores) // 2
    assert 0.7 < auroc(scores[:half].numpy(), scores[half:].numpy()) < 1
    right = given.known_logits.argmax(dim=1) == given.labels
    assert 0.9 < right.float().mean() < 1
    assert given.logits.softmax(dim=1).amax() < 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("library", "pair"), PAIRS, ids=[f"{name}: {pair.ours}" for name, pair in PAIRS])
def test_the_other_ranks_alike_or_a_reason_is_given(given, modules, library, pair):
    if library not in modules:
        pytest.skip(f"{library} is not installed")
    made = create(pair.ours).fit(COUNTERPARTS.support(given))
    ours = made.score({name: getattr(given, name) for name in made.reads()})
    theirs = -pair.score(modules[library], given)
    assert theirs.shape == ours.shape
    correlation = COUNTERPARTS.rank_correlation(ours, theirs)
    assert correlation > (COUNTERPARTS.KIN if pair.reason else COUNTERPARTS.ALIKE)


@pytest.mark.filterwarnings("ignore")
def test_a_second_answer_is_the_first(given, modules):
    """What `fit` returns can be asked again: nothing is learnt from queries, and oodeel keeps no layer of the last."""
    for name, ours in (("oodeel", "react >> energy"), ("oodeel", "vim"), ("pytorch-ood", "knn")):
        if name not in modules:
            continue
        pair = next(pair for library, pair in PAIRS if library == name and pair.ours == ours)
        first = pair.score(modules[name], given)
        assert torch.equal(first, pair.score(modules[name], given))


def test_committed_agreement_is_good_or_explained():
    for row in COMMITTED["oracles"]:
        known = TABLES.differences(row["name"])
        assert row["float64"]["largest_difference"] < 1e-6 or known, row["name"]
        assert row["float32"]["largest_difference"] < 1e-4 or known, row["name"]
        assert row["float32"]["rank_correlation"] > 0.999, row["name"]
    for about in COMMITTED["libraries"].values():
        for row in about["rows"]:
            assert row["rank_correlation"] > COUNTERPARTS.ALIKE or row["reason"], row["ours"]


def test_every_committed_pair_is_one_of_today():
    """The texts in the results are those of the counterparts, none is missing and none is left over."""
    for library in COUNTERPARTS.LIBRARIES:
        rows = {row["ours"]: row for row in COMMITTED["libraries"][library.name]["rows"]}
        assert rows.keys() == {pair.ours for pair in library.pairs}
        for pair in library.pairs:
            row = rows[pair.ours]
            told = {"theirs": pair.theirs, "default": pair.default, "reason": pair.reason}
            assert told == {key: row[key] for key in told}


def test_every_method_of_a_peer_has_its_entry():
    """A pair whose formulas differ says so beside the method, and every pair was measured."""
    measured = {(row["library"], row["ours"]) for row in MEASURED["rows"]}
    for library in COUNTERPARTS.LIBRARIES:
        for pair in library.pairs:
            assert (library.name, pair.ours) in measured
            name = pair.ours.split(" ")[0].split("(")[0]
            assert name in registry.names("detectors")
            if pair.reason:
                assert library.name in TABLES.differences(name), f"{name}: say in 'Differs:' what {library.name} does"


def test_differences_are_read_whole_and_alone():
    told = TABLES.differences("nci")
    assert told.startswith("pytorch-ood's default `alpha` is 0; OpenOOD")
    assert told.endswith("at hand.")
    assert ">>>" not in told
    assert TABLES.differences("maxlogit") == ""


def test_a_benchmark_states_what_its_queries_need():
    """By hand: 2 queries of 3 features, 4 classes and 5 known inputs."""
    shape = POSTHOC.Shape(C=4, D=3, N=5, B=2)
    assert POSTHOC.NEEDS["mahalanobis"](shape) == (2 * 2 * 3 * 4 + 2 * 2 * 3 * 3, 2 * 3 + 3 * 4 + 3 * 3)
    assert POSTHOC.NEEDS["knn"](shape) == (2 * 2 * 5 * 3, 2 * 3 + 5 * 3)
    assert POSTHOC.NEEDS["energy"](shape) == (0, 2 * 4)
    ceilings = {"gflops": 2.0, "copy_gb_per_s": 4.0}
    assert MACHINE.least_seconds(6e9, 1e9, ceilings) == 3.0  # the products take longer
    assert MACHINE.least_seconds(6e9, 5e9, ceilings) == 5.0  # and here the reading


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_is_what_was_held_at_most():
    """In a process of its own, as the benchmark is: it forks, and a fork of one with many threads may wait for ever."""
    code = (
        "import timing, machine, torch\n"
        "def frees():\n"
        "    torch.ones(16 << 20)\n"
        "    return torch.ones(1)\n"
        "calls = (lambda: torch.ones(16 << 20), frees, lambda: torch.ones(1))\n"
        "print(*map(machine.peak_mb, calls))\n"
    )
    folder = Path(__file__).parents[1] / "benchmarks"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=100, check=True
    )
    held, freed, little = map(float, run.stdout.split())
    assert held == pytest.approx(64, rel=0.1)
    assert freed == pytest.approx(64, rel=0.1)
    assert little < 2


def test_no_measured_query_is_faster_than_the_machine():
    for row in [*MEASURED["rows"], *MEASURED["large"]]:
        assert 0 < row["share_of_ceiling"] <= 1, row["ours"]
