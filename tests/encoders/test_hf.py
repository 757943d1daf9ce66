"""Models of transformers: small ones with random weights, compared with the library's own answers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from unseen import OpenSetClassifier
from unseen.checks import check_encoder
from unseen.encoders import encode, open_encoder
from unseen.encoders.hf import Hf
from unseen.errors import BadInput, MissingExtra, WrongUse
from unseen.optional import require
from unseen.signals import LayerStatistics, Perturbed

from ._tiny import SIZE, tiny_hf_clip, tiny_hf_siglip

try:
    transformers = require("transformers", "transformers")
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)

ALL = frozenset({"features", "embedding"})
TEXTS = ["a photo of a cat", "Dog", "a very red tree .", "blue " * 40]
KINDS = {"clip": (tiny_hf_clip, transformers.CLIPModel), "siglip": (tiny_hf_siglip, transformers.SiglipModel)}
BATCH = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Kind -> encoder, the library's own network with the same weights, and the folder of both."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("hf") / kind
            build, own = KINDS[kind]
            made[kind] = open_encoder(build(folder)), own.from_pretrained(folder).eval(), folder
        return made[kind]

    return get


@pytest.fixture
def folder(tiny, tmp_path):
    """A folder of one's own to change."""

    def copied(kind="clip"):
        tiny(kind)
        return Path(shutil.copytree(tiny(kind)[2], tmp_path / kind))

    return copied


def edit(path, **said):
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


def normalised(encoder, batch):
    mean, std = ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28]) if "crop" in encoder.id else ([0.5] * 3, [0.5] * 3)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_answered_as_the_library_answers(tiny, kind):
    encoder, network, _ = tiny(kind)
    found = encoder.answer(BATCH, ALL)
    with torch.no_grad():
        x = normalised(encoder, BATCH)
        close(found["features"], network.vision_model(pixel_values=x).pooler_output)
        ids = torch.tensor([[0, 5, 1]])
        close(found["embedding"], network(pixel_values=x, input_ids=ids).image_embeds)
    assert found["embedding"].shape[1] == (20 if kind == "clip" else 24)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_answered_as_the_library_answers(tiny, kind):
    """SigLIP was taught with texts filled up to their full length; CLIP does not see what follows a text."""
    encoder, network, folder = tiny(kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    filled = {"clip": {"padding": True}, "siglip": {"padding": "max_length", "max_length": 16}}[kind]
    given = tokenizer(TEXTS[:3], **filled, return_tensors="pt")
    found = encoder.text(TEXTS)
    with torch.no_grad():
        close(found[:3], network.get_text_features(**given).pooler_output)
        scale = network.logit_scale.exp().item()
        assert encoder.scale == pytest.approx(scale)
        logits = network(pixel_values=normalised(encoder, BATCH), **given).logits_per_image
        cosines = encoder.answer(BATCH, ALL)["embedding"] @ normalize(found[:3], dim=-1).T
        torch.testing.assert_close(cosines * scale + getattr(network, "logit_bias", 0), logits, rtol=1e-4, atol=1e-4)
        cut = tokenizer(TEXTS[3:], truncation=True, max_length=16, return_tensors="pt")
        close(found[3:], network.get_text_features(input_ids=cut["input_ids"]).pooler_output)
    assert encoder.reads_text
    assert torch.equal(encoder.text(TEXTS[1:2]), found[1:2])


def test_padding_matters_to_siglip(tiny):
    """So that the test above cannot pass by chance."""
    encoder, network, folder = tiny("siglip")
    given = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS[:1], return_tensors="pt")
    with torch.no_grad():
        assert not torch.allclose(network.get_text_features(**given).pooler_output, encoder.text(TEXTS[:1]), atol=1e-2)


def test_patches_are_the_last_block_with_each_token_looking_at_itself(tiny):
    encoder, network, _ = tiny("clip")
    vision, seen = network.vision_model, []
    block = vision.encoder.layers[-1]
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    alone = torch.full((1, 1, 17, 17), torch.finfo().min)
    alone[0, 0].fill_diagonal_(0.0)
    with torch.no_grad():
        vision(pixel_values=normalised(encoder, BATCH))
        hook.remove()
        tokens = network.visual_projection(vision.post_layernorm(block(seen[0], alone))[:, 1:])
    passes = []
    hook = encoder._module.register_forward_hook(lambda *_: passes.append(1))
    found = encoder.answer(BATCH, ALL | {"local", LayerStatistics("-1")})
    hook.remove()
    assert len(passes) == 1
    assert found["local"].shape == (4, 16, 20)
    close(found["local"], normalize(tokens, dim=-1))


def test_what_is_refused(tiny):
    siglip = tiny("siglip")[0]
    assert siglip.when_named == frozenset()
    with pytest.raises(WrongUse, match="hf:siglip gives no local features: SigLIP pools by attention"):
        siglip.answer(BATCH, frozenset({"local"}))
    assert "no classifier" in tiny("clip")[0].refusal(Perturbed(epsilon=0.1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(60, 80), (100, 36), (36, 41), (20, 20)])
def test_images_are_prepared_as_the_library_prepares_them(tiny, kind, shape):
    encoder, _, folder = tiny(kind)
    theirs = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = theirs(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(encoder._normalised(encoder.prepare(image)[None])[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract(tiny, kind):
    assert not check_encoder(tiny(kind)[0]).skipped


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_guard_scores_the_same_bits_without_the_folder(folder, kind, tmp_path):
    place = folder(kind)
    encoder = open_encoder(f"hf:{place}")
    rng = np.random.default_rng(1)
    known, new = ({"images": rng.integers(0, 256, (n, 40, 50, 3), dtype=np.uint8)} for n in (40, 6))
    guard = OpenSetClassifier(encoder, "knn(k=2)", alpha=0.2).fit(known, cache=False)
    file = guard.save(tmp_path / "guard.unseen")
    scores = guard.predict(new, cache=False).familiarity
    shutil.rmtree(place)
    loaded = OpenSetClassifier.load(file)
    assert loaded.encoder.id == encoder.id
    assert np.array_equal(loaded.predict(new, cache=False).familiarity, scores)
    assert not loaded.encoder.reads_text
    assert not [name for name in encoder.state() if "text" in name]


def test_restored_with_patches(tiny):
    encoder = tiny("clip")[0]
    again = Hf.restore(json.loads(json.dumps(encoder.describe())), encoder.state())
    local = frozenset({"local"})
    assert torch.equal(again.answer(BATCH, local)["local"], encoder.answer(BATCH, local)["local"])
    assert again.scale == encoder.scale


def test_through_the_store_and_back(tiny, tmp_path):
    encoder = tiny("clip")[0]
    passes = []
    hook = encoder._module.register_forward_hook(lambda *_: passes.append(1))
    wanted = ["features", "embedding", "local"]
    first = encode({"images": BATCH}, encoder, wanted, cache=tmp_path)
    again = encode({"images": BATCH}, encoder, wanted, cache=tmp_path)
    hook.remove()
    assert len(passes) == 1
    for key in wanted:
        assert torch.equal(first.gather(key), again.gather(key))


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_and_the_slopes(tiny, kind):
    encoder = tiny(kind)[0]
    found, graph = encoder.answer(BATCH, ALL), encoder.graph()(torch.from_numpy(BATCH))
    for key, answer in found.items():
        close(graph[key], answer)
    pixels = (torch.from_numpy(BATCH).permute(0, 3, 1, 2) / 255).requires_grad_(True)
    features = encoder.differentiable()(pixels)
    close(features.detach(), found["features"])
    features.square().sum().backward()
    assert pixels.grad.abs().amax(dim=1).min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_export(tiny, tmp_path, kind):
    pytest.importorskip("onnxruntime")
    from unseen.onnx import to_onnx

    rng = np.random.default_rng(1)
    known, new = ({"images": rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)} for n in (60, 35))
    guard = OpenSetClassifier(tiny(kind)[0], "knn(k=2)", alpha=0.2).fit(known, cache=False)
    assert to_onnx(guard, tmp_path / "guard.onnx", new).n == 35


def test_the_id_changes_with_all_that_changes_an_answer(tiny, folder):
    place = folder()

    def opened():
        return open_encoder(f"hf:{place}").id

    ids = {"as it is": opened()}
    assert ids["as it is"] == tiny("clip")[0].id, "the folder does not matter"
    weights = place / "model.safetensors"
    original = load_file(weights)
    for name in (
        "vision_model.pre_layrnorm.weight",
        "visual_projection.weight",
        "text_projection.weight",
        "logit_scale",
    ):
        save_file(original | {name: original[name] + 0.01}, weights, {"format": "pt"})
        ids[name] = opened()
    save_file(original, weights, {"format": "pt"})
    config = json.loads((place / "config.json").read_text())
    for side in ("vision_config", "text_config"):
        edit(place / "config.json", **{side: config[side] | {"hidden_act": "gelu"}})
        ids[side] = opened()
        edit(place / "config.json", **config)
    edit(place / "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    ids["mean"] = opened()
    words = (place / "merges.txt").read_text().splitlines()
    (place / "merges.txt").write_text("\n".join(words[:-2]))
    ids["tokenizer"] = opened()
    assert len(set(ids.values())) == len(ids)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"size": 40, "crop_size": 32}, {"size": [32, 32], "resize": "crop", "crop_fraction": 0.8}),
        ({"size": {"height": 32, "width": 32}}, {"size": [32, 32], "resize": "squash"}),
        ({"do_normalize": False}, {"size": [32, 32], "resize": "crop"}),
        ({"resample": 2}, {"interpolation": "bilinear"}),
    ],
)
def test_ways_to_prepare_images(folder, said, expected):
    place = folder()
    edit(place / "preprocessor_config.json", **said)
    encoder = open_encoder(f"hf:{place}")
    described = encoder.preprocessing()
    assert {key: described[key] for key in expected} == expected
    assert ('"mean": [0.0, 0.0, 0.0]' in encoder.id) == ("do_normalize" in said)


@pytest.mark.parametrize(
    "said",
    [
        {"do_center_crop": False},
        {"crop_size": {"height": 64, "width": 64}},
        {"do_resize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"resample": 17},
    ],
)
def test_other_ways_are_refused(folder, said):
    place = folder()
    edit(place / "preprocessor_config.json", **said)
    with pytest.raises(BadInput, match="its image processor is not supported: ") as caught:
        open_encoder(f"hf:{place}")
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_not_filled_in(folder):
    place = folder()
    tensors = load_file(place / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"its weights lack visual_projection\.weight \(1 such tensors\)"):
        open_encoder(f"hf:{place}")


@pytest.mark.parametrize("absent", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_a_folder_that_is_not_whole(folder, absent):
    place = folder("siglip")
    (place / absent).unlink()
    with pytest.raises(BadInput, match="the folder is not a whole model of transformers") as caught:
        open_encoder(f"hf:{place}")
    assert "\n" not in str(caught.value)


def test_other_models_are_refused(tmp_path):
    transformers.ViTConfig(hidden_size=24, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(WrongUse, match=r"is a vit model; supported are clip and siglip \(CLIPModel, SiglipModel\)"):
        open_encoder(f"hf:{tmp_path}")


def test_offline_says_what_to_do(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"hf:nobody/nothing: not in the cache, .*; give a folder: hf:FOLDER") as caught:
        open_encoder("hf:nobody/nothing")
    assert "\n" not in str(caught.value)


def test_opening_says_nothing_and_leaves_the_librarys_logging_as_it_was(tiny, capfd):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    folder = tiny("siglip")[2]
    capfd.readouterr()
    open_encoder(f"hf:{folder}")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
