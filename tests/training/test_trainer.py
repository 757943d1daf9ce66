import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unseen.data.batch import Batch, Rows
from unseen.errors import BadInput, DamagedFile, WrongUse
from unseen.training import FeatureRows, Recipe, Shuffled, train
from unseen.training.checkpoints import read_checkpoint, steps_in

RECIPE = Recipe(steps=20, batch=16, lr=0.05, warmup=3, clip=1.0, ema=0.9)


def weights(*modules):
    return {f"{i}.{name}": t.clone() for i, m in enumerate(modules) for name, t in m.state_dict().items()}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def table(folder):
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def checkpoint_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("checkpoint-*"))}


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw", "lars"])
def test_one_seed_gives_one_set_of_weights_and_the_callers_generator_stays(optimizer, made, rows, tmp_path):
    recipe = Recipe(steps=8, batch=16, lr=0.05, optimizer=optimizer)
    found = []
    for run in range(2):
        torch.manual_seed(run)
        before = torch.get_rng_state()
        objective, encoder = made()
        train(objective, encoder, rows, recipe, tmp_path / str(run))
        assert torch.equal(torch.get_rng_state(), before)
        found.append(weights(objective, encoder))
    assert same(*found)
    assert checkpoint_bytes(tmp_path / "0") == checkpoint_bytes(tmp_path / "1")
    assert (tmp_path / "0" / "log.csv").read_bytes() == (tmp_path / "1" / "log.csv").read_bytes()
    objective, encoder = made()
    train(objective, encoder, rows, Recipe(**{**recipe.describe(), "seed": 1}), tmp_path / "other")
    assert not same(weights(objective, encoder), found[0])


def test_it_learns(made, rows, tmp_path):
    objective, encoder = made()
    told = []
    done = train(
        objective, encoder, rows, Recipe(epochs=40, batch=16, lr=0.05), tmp_path, progress=lambda *a: told.append(a)
    )
    objective.eval()
    right = objective.outputs(rows.features, encoder)["logits"].argmax(1) == torch.from_numpy(rows.labels)
    assert right.float().mean() > 0.95
    assert (done.steps, done.epochs, done.resumed) == (120, 40, 0)  # 50 rows are 3 batches of 16
    assert told[0] == (0, 120)
    assert told[-1] == (120, 120)
    assert objective.epochs_begun == [(epoch, 40) for epoch in range(40)]
    logged = table(tmp_path)
    assert [int(row["step"]) for row in logged] == list(range(120))
    assert set(logged[0]) == {"step", "epoch", "loss", "accuracy", "grad_norm", "lr"}
    assert float(logged[-1]["loss"]) == done.last["loss"] < float(logged[0]["loss"])
    assert all(p.grad is None for p in objective.parameters())


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["nesterov", "adam", "lars"])
@pytest.mark.parametrize("stopped", [1, 6, 7, 19])
def test_a_training_taken_up_again_has_the_bits_of_one_that_was_not(optimizer, stopped, made, rows, tmp_path):
    """Stopped at the first step, at a checkpoint that ends an epoch (3 steps), just after it, before the last step."""
    recipe = Recipe(**{**RECIPE.describe(), "optimizer": optimizer})
    objective, encoder = made()
    train(objective, encoder, rows, recipe, tmp_path / "straight", every=3)
    straight = weights(objective, encoder)

    def stop(done, total):
        if done == stopped:
            raise Killed

    broken = made()
    with pytest.raises(Killed):
        train(*broken, rows, recipe, tmp_path / "broken", every=3, progress=stop)
    for module in broken:  # what a process forgets
        for tensor in module.state_dict().values():
            tensor.zero_()
    objective, encoder = made()
    done = train(objective, encoder, rows, recipe, tmp_path / "broken", every=3, resume=True)
    assert done.resumed == 3 * (stopped // 3)
    assert same(weights(objective, encoder), straight)
    assert (tmp_path / "broken" / "log.csv").read_bytes() == (tmp_path / "straight" / "log.csv").read_bytes()
    assert checkpoint_bytes(tmp_path / "broken") == checkpoint_bytes(tmp_path / "straight")


def test_a_finished_training_is_taken_up_without_a_step(made, rows, tmp_path):
    objective, encoder = made()
    first = train(objective, encoder, rows, RECIPE, tmp_path)
    held, log = weights(objective, encoder), (tmp_path / "log.csv").read_bytes()
    objective, encoder = made()
    again = train(objective, encoder, rows, RECIPE, tmp_path, resume=True)
    assert again.resumed == again.steps == 20
    assert again.last == first.last
    assert same(weights(objective, encoder), held)
    assert (tmp_path / "log.csv").read_bytes() == log


SCRIPT = """
import sys, time
from pathlib import Path

import numpy as np
import torch

from unseen.training import FeatureRows, Recipe, train

torch.set_num_threads(1)
names = {"__name__": "tiny"}
exec(Path(sys.argv[1]).read_text(), names)
random = np.random.default_rng(0)
labels = np.arange(50) % 3
features = random.normal(size=(50, 6)) + 3 * np.eye(3, 6)[labels]
rows = FeatureRows(torch.from_numpy(features).float(), labels)
objective, encoder = names["Tiny"]().build(8, 3), names["encoder"]()
slow = float(sys.argv[3])
train(objective, encoder, rows, Recipe(steps=60, batch=16, lr=0.05, ema=0.9), sys.argv[2], every=1, resume=True,
      progress=lambda done, total: time.sleep(slow))
torch.save({**objective.state_dict(), **encoder.state_dict()}, Path(sys.argv[2]) / "end.pt")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_kills_change_no_bit(tmp_path):
    """Killed four times at odd moments, with a checkpoint after every step, so that some kills hit its writing."""
    conftest = (Path(__file__).parent / "conftest.py").read_text()
    (tmp_path / "tiny.py").write_text(conftest.split("TINY = '''")[1].split("'''")[0])
    (tmp_path / "run.py").write_text(SCRIPT)

    def start(folder, slow):
        words = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "tiny.py"), str(tmp_path / folder), str(slow)]
        return subprocess.Popen(words, stderr=subprocess.PIPE)

    reached = 0
    for _ in range(4):
        process = start("broken", 0.02)
        deadline = time.monotonic() + 60
        while (steps_in(tmp_path / "broken") or [0])[-1] < reached + 5:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.003)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
        reached = steps_in(tmp_path / "broken")[-1]
        assert reached < 60
    for folder in ("broken", "straight"):
        process = start(folder, 0)
        assert process.wait() == 0, process.stderr.read().decode()
        process.stderr.close()
    ends = [torch.load(tmp_path / folder / "end.pt", weights_only=True) for folder in ("broken", "straight")]
    assert same(*ends)
    logs = [(tmp_path / folder / "log.csv").read_bytes() for folder in ("broken", "straight")]
    assert logs[0] == logs[1]


def test_a_checkpoint_cut_short_is_passed_over(made, rows, tmp_path):
    objective, encoder = made()
    train(objective, encoder, rows, RECIPE, tmp_path, every=5)
    assert steps_in(tmp_path) == [15, 20]
    straight = weights(objective, encoder)
    last = tmp_path / "checkpoint-000000020.safetensors"
    whole = last.read_bytes()
    last.write_bytes(whole[:-7])
    assert read_checkpoint(tmp_path).step == 15
    held = bytearray(whole)
    held[-3] ^= 1  # one bit of one weight, which its format would not notice
    last.write_bytes(held)
    assert read_checkpoint(tmp_path).step == 15
    objective, encoder = made()
    assert train(objective, encoder, rows, RECIPE, tmp_path, every=5, resume=True).resumed == 15
    assert same(weights(objective, encoder), straight)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"x")
    with pytest.raises(DamagedFile, match="none of the 2 checkpoints is whole"):
        train(*made(), rows, RECIPE, tmp_path, resume=True)


def test_a_row_of_the_log_cut_short_is_written_again(made, rows, tmp_path):
    objective, encoder = made()
    train(objective, encoder, rows, RECIPE, tmp_path / "whole", every=5)
    whole = (tmp_path / "whole" / "log.csv").read_text()
    folder = tmp_path / "cut"
    train(*made(), rows, RECIPE, folder, every=5)
    (folder / "checkpoint-000000020.json").unlink()  # as if killed after step 17, while it wrote "17,..." as "1"
    lines = whole.splitlines(keepends=True)
    (folder / "log.csv").write_text("".join(lines[:18]) + "1")
    train(*made(), rows, RECIPE, folder, every=5, resume=True)
    assert (folder / "log.csv").read_text() == whole


def test_folders_with_a_training_are_not_overwritten_and_not_mixed(made, rows, tmp_path):
    train(*made(), rows, RECIPE, tmp_path, about={"objective": {"name": "tiny"}})
    with pytest.raises(WrongUse, match="holds a training already"):
        train(*made(), rows, RECIPE, tmp_path, about={"objective": {"name": "tiny"}})
    other = Recipe(**{**RECIPE.describe(), "lr": 0.06})
    with pytest.raises(WrongUse, match=r"recipe\.lr 0\.05, not 0\.06: go on with the same options"):
        train(*made(), rows, other, tmp_path, about={"objective": {"name": "tiny"}}, resume=True)
    with pytest.raises(WrongUse, match=r"objective\.name 'tiny', not 'other'"):
        train(*made(), rows, RECIPE, tmp_path, about={"objective": {"name": "other"}}, resume=True)
    assert json.loads((tmp_path / "config.json").read_text())["recipe"]["lr"] == 0.05


def test_the_running_mean_is_the_result(made, rows, tmp_path):
    """Two steps by hand: e1 = d e0 + (1 - d) w1, e2 = d e1 + (1 - d) w2; counters are copied."""
    plain = Recipe(steps=2, batch=16, lr=0.05)
    after = []
    for steps in (0, 1, 2):
        objective, encoder = made()
        if steps:  # the constant schedule, so that the first step is the same in both
            train(
                objective,
                encoder,
                rows,
                Recipe(steps=steps, batch=16, lr=0.05, schedule="constant"),
                tmp_path / f"{steps}",
            )
        after.append(weights(objective, encoder))
    objective, encoder = made()
    mean = Recipe(**{**plain.describe(), "ema": 0.75, "schedule": "constant"})
    train(objective, encoder, rows, mean, tmp_path / "mean")
    got = weights(objective, encoder)
    for name, tensor in got.items():
        if tensor.is_floating_point():
            first = 0.75 * after[0][name] + 0.25 * after[1][name]
            torch.testing.assert_close(tensor, 0.75 * first + 0.25 * after[2][name])
        else:
            assert tensor.equal(after[2][name])
    assert not same(got, after[2])


def test_clipping_shortens_long_gradients_only(made, rows, tmp_path):
    moved = {}
    for clip in (None, 1e-3, 1e3):
        objective, encoder = made()
        before = weights(encoder)
        train(objective, encoder, rows, Recipe(steps=1, batch=16, lr=1.0, optimizer="sgd", weight_decay=0.0, clip=clip),
              tmp_path / str(clip))  # fmt: skip
        moved[clip] = sum(float((t - before[n]).norm() ** 2) for n, t in weights(encoder).items()) ** 0.5
    norm = float(table(tmp_path / "None")[0]["grad_norm"])
    assert moved[1e3] == moved[None] > 0
    assert moved[1e-3] == pytest.approx(moved[None] * 1e-3 / norm, rel=1e-3)


class TwoPhases(nn.Module):
    """Two numbers, each moved in its own phase; the second sees what the first did."""

    needs = frozenset()
    phases = ("first", "second")
    labels = "ignored"
    name = "two_phases"

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))

    def order(self, labels, rows, batch, seed, epoch):
        return None

    def groups(self, phase, encoder, lr, weight_decay):
        held = {"first": self.a, "second": self.b}[phase]
        return [{"params": [held], "lr": lr * (1 if phase == "first" else 2), "weight_decay": 0.0}]

    def loss(self, batch, encoder, phase):
        return {"loss": self.a * 3 if phase == "first" else self.a.detach() * self.b + self.a}

    def on_epoch(self, epoch, epochs, encoder, walk):
        self.walked = torch.cat([batch.index for batch in walk()])


def test_phases_follow_one_another_with_their_own_optimisers(tmp_path):
    """a = 1 - 0.1 * 3 = 0.7; b = 1 - 0.2 * 0.7 = 0.86: a has moved by then, and the second phase leaves it alone."""
    objective = TwoPhases()
    rows = FeatureRows(torch.zeros(600, 2))
    recipe = Recipe(steps=1, batch=4, lr=0.1, optimizer="sgd", momentum=0.0, schedule="constant")
    done = train(objective, nn.Identity(), rows, recipe, tmp_path)
    assert objective.a.item() == pytest.approx(0.7)
    assert objective.b.item() == pytest.approx(0.86)
    assert (done.last["first.lr"], done.last["second.lr"]) == (0.1, 0.2)
    assert objective.walked.tolist() == list(range(600))


class Reads(TwoPhases):
    """Keeps the batches that it is given."""

    needs = frozenset({"two_views", "outliers", "aux_stream"})
    phases = ("first",)

    def loss(self, batch, encoder, phase):
        self.batches = [*getattr(self, "batches", []), batch]
        return super().loss(batch, encoder, phase)

    def on_epoch(self, epoch, epochs, encoder, walk):
        pass


class Noisy(FeatureRows):
    """Features with noise of their own draw, like augmented images."""

    def read(self, rows, seed):
        noise = [np.random.default_rng((*seed, i)).normal(size=self.features.shape[1]) for i in rows.index.tolist()]
        return self.plain(rows.index) + torch.tensor(np.array(noise)).float()


def test_batches_hold_what_an_objective_needs(tmp_path):
    objective = Reads()
    rows, outliers, aux = (Noisy(torch.full((n, 2), float(10 * k))) for n, k in ((12, 0), (8, 1), (4, 2)))
    recipe = Recipe(steps=6, batch=4, lr=0.1)
    streams = {"outliers": outliers, "aux_stream": aux}
    train(objective, nn.Identity(), rows, recipe, tmp_path / "a", streams=streams)
    seen = objective.batches
    assert all(not batch.x.equal(batch.view) for batch in seen)  # two views of the same inputs
    assert all(
        float((batch.outliers - 10).abs().max()) < 5 and float((batch.aux_stream - 20).abs().max()) < 5
        for batch in seen
    )
    assert seen[0].unlabeled_pool is None
    for epoch in (seen[:3], seen[3:]):
        assert sorted(torch.cat([batch.index for batch in epoch]).tolist()) == list(range(12))
    assert seen[0].index.tolist() != seen[3].index.tolist()
    # An order of its own, with epochs of its own: outliers repeat after 2 steps.
    with pytest.raises(WrongUse, match="needs aux_stream beside the inputs"):
        train(Reads(), nn.Identity(), rows, recipe, tmp_path / "b", streams={"outliers": outliers})


class Draws(TwoPhases):
    """Draws from torch's own generator, as dropout does."""

    def loss(self, batch, encoder, phase):
        self.drawn = [*getattr(self, "drawn", []), torch.rand(()).item()]
        return super().loss(batch, encoder, phase)

    def on_epoch(self, epoch, epochs, encoder, walk):
        self.begun = [*getattr(self, "begun", []), torch.rand(()).item()]


def test_every_step_and_every_phase_has_draws_of_its_own(tmp_path):
    objective = Draws()
    train(objective, nn.Identity(), FeatureRows(torch.zeros(8, 2)), Recipe(steps=6, batch=4, lr=0.1), tmp_path)
    assert len(objective.drawn) == 12
    assert len(objective.begun) == 3
    assert len({*objective.drawn, *objective.begun}) == 15


class Bad(TwoPhases):
    phases = ("first",)

    def loss(self, batch, encoder, phase):
        return {"loss": self.a / 0}


class Steep(Bad):
    def loss(self, batch, encoder, phase):
        return {"loss": (self.a - self.a.detach()).sqrt()}


def test_a_loss_or_a_gradient_that_is_no_number_stops_before_the_step(tmp_path):
    rows = FeatureRows(torch.zeros(8, 2))
    for kind, says in ((Bad, "the loss of step 0 is inf: lower lr"), (Steep, "the gradient of step 0 is (nan|inf)")):
        objective = kind()
        with pytest.raises(WrongUse, match=says):
            train(objective, nn.Identity(), rows, Recipe(steps=2, batch=4), tmp_path / kind.__name__)
        assert objective.a.item() == 1.0


def test_what_cannot_be_trained_is_named(made, rows, tmp_path, monkeypatch):
    with pytest.raises(WrongUse, match="learns from labels and there are none"):
        train(*made(), FeatureRows(rows.features), RECIPE, tmp_path)
    with pytest.raises(WrongUse, match="warmup=3 of 2 steps"):
        train(*made(), rows, Recipe(steps=2, warmup=3, batch=16), tmp_path)
    with pytest.raises(WrongUse, match="every=0"):
        train(*made(), rows, RECIPE, tmp_path, every=0)
    frozen = TwoPhases()
    frozen.groups = lambda *a: [{"params": [], "lr": 0.1, "weight_decay": 0.0}]
    with pytest.raises(WrongUse, match="nothing to learn in phase 'first'"):
        train(frozen, nn.Identity(), rows, RECIPE, tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(WrongUse, match="one process"):
        train(*made(), rows, RECIPE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_features_are_checked():
    with pytest.raises(BadInput, match="row 2 hold NaN"):
        FeatureRows(torch.tensor([[0.0], [1.0], [float("nan")]]))
    with pytest.raises(BadInput, match=r"are \(N, D\)"):
        FeatureRows(torch.zeros(3))
    with pytest.raises(BadInput, match="labels to train on are 3 codes"):
        FeatureRows(torch.zeros(3, 1), np.array([0, 1]))


def test_bfloat16_goes_through_accelerate_and_is_taken_up_exactly(made, rows, tmp_path):
    pytest.importorskip("accelerate")
    recipe = Recipe(**{**RECIPE.describe(), "precision": "bfloat16"})
    ends = {}
    for folder in ("straight", "broken"):
        objective, encoder = made()
        if folder == "broken":

            def stop(done, total):
                if done == 8:
                    raise Killed

            with pytest.raises(Killed):
                train(*made(), rows, recipe, tmp_path / folder, every=3, progress=stop)
        train(objective, encoder, rows, recipe, tmp_path / folder, every=3, resume=True)
        ends[folder] = weights(objective, encoder)
    assert same(ends["straight"], ends["broken"])
    objective, encoder = made()
    train(objective, encoder, rows, RECIPE, tmp_path / "float32")
    whole = weights(objective, encoder)
    assert not same(whole, ends["straight"])
    torch.testing.assert_close(whole["0.head.0.weight"], ends["straight"]["0.head.0.weight"], atol=0.05, rtol=0.05)
    if not torch.cuda.is_available():
        with pytest.raises(WrongUse, match="device 'cuda' cannot be used"):
            train(*made(), rows, Recipe(steps=1, device="cuda"), tmp_path / "cuda")


def test_tensorboard_has_the_numbers_of_the_table(made, rows, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(*made(), rows, RECIPE, tmp_path, tensorboard=True)
    held = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    got = [event.value for event in held.Scalars("loss")]
    assert got == pytest.approx([float(row["loss"]) for row in table(tmp_path)])


def test_orders_are_functions_of_seed_epoch_and_step():
    order = Shuffled(10, 3, seed=4, epoch=2)
    assert len(order) == 3
    taken = np.concatenate([rows.index for rows in order])
    assert len(set(taken.tolist())) == 9
    assert Shuffled(10, 3, seed=4, epoch=2)[1].index.tolist() == order[1].index.tolist()
    assert Shuffled(10, 3, seed=4, epoch=3)[1].index.tolist() != order[1].index.tolist()
    assert Shuffled(10, 3, seed=5, epoch=2)[1].index.tolist() != order[1].index.tolist()
    few = Shuffled(2, 3, seed=0, epoch=0)
    assert len(few) == 1
    assert sorted(few[0].index.tolist()) == [0, 1]
    with pytest.raises(IndexError):
        order[3]


def test_a_batch_moves_as_a_whole():
    batch = Batch(torch.zeros(2, 3), torch.arange(2), pairs=torch.zeros(1, 2, dtype=torch.int64)).to("meta")
    assert batch.x.device.type == batch.index.device.type == batch.pairs.device.type == "meta"
    assert batch.y is None
    assert len(batch) == 2
    assert Rows(np.arange(2)).pairs is None
