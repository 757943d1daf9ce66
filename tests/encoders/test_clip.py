"""Models of open_clip: small ones with random weights, compared with open_clip's own answers."""

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import multi_head_attention_forward, normalize

from unseen import OpenSetClassifier
from unseen.checks import check_encoder
from unseen.encoders import encode, open_encoder
from unseen.encoders.clip import Clip
from unseen.errors import BadInput, MissingExtra, WrongUse
from unseen.optional import require
from unseen.signals import Climbed, LayerStatistics, Perturbed

from ._tiny import CONVNEXT, RESNET, VIT, open_clip_config, open_clip_network, tiny_open_clip

try:
    open_clip = require("open_clip", "clip")
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)

ALL = frozenset({"features", "embedding"})
TEXTS = ["a photo of a cat", "dog", "A very red tree!", "blue " * 40]
COCA = {"width": 16, "heads": 2, "layers": 1, "context_length": 16, "vocab_size": 49408, "attn_pooler_heads": 2}


def coca():
    vision = {**VIT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
    config = open_clip_config(vision, custom_text=True, multimodal_cfg=COCA)
    config["text_cfg"] |= {"embed_cls": True, "output_tokens": True}
    return config


CONFIGS = {
    "vit": open_clip_config(),
    "layer scale": open_clip_config({**VIT, "ls_init_value": 0.5}, quick_gelu=True),
    "pooled late": open_clip_config({**VIT, "pool_type": "avg", "final_ln_after_pool": True}),
    "resnet": open_clip_config(RESNET),
    "convnext": open_clip_config(CONVNEXT, custom_text=True),
    "coca": coca(),
}
PROJECTED = {"vit", "layer scale", "pooled late", "coca"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Name -> encoder and open_clip's network with the same weights."""
    made = {}

    def get(name):
        if name not in made:
            config = CONFIGS[name]
            made[name] = (
                open_encoder(tiny_open_clip(tmp_path_factory.mktemp("clip"), config)),
                open_clip_network(config),
            )
        return made[name]

    return get


def images(encoder, n=4, seed=0):
    """Squares of random colours: fine noise looks the same everywhere to a ResNet."""
    height, width = encoder._preprocess.shape
    coarse = np.random.default_rng(seed).integers(0, 256, (n, height // 16, width // 16, 3), dtype=np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


def normalised(batch):
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    return (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_images_are_answered_as_open_clip_answers(tiny, name):
    encoder, network = tiny(name)
    batch = images(encoder)
    found = encoder.answer(batch, ALL)
    with torch.no_grad():
        close(found["embedding"], network.encode_image(normalised(batch), normalize=True))
        raw = network.visual(normalised(batch))
        raw = raw[0] if isinstance(raw, tuple) else raw
        features = found["features"]
        close(features @ network.visual.proj if name in PROJECTED else features, raw)
    assert (features.norm(dim=1) - 1).abs().min() > 0.01, "features have the length that they come with"


@pytest.mark.parametrize("name", CONFIGS)
def test_texts_are_answered_as_open_clip_answers(tiny, name):
    encoder, network = tiny(name)
    tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)  # which cuts the last
    with torch.no_grad():
        expected = network.encode_text(tokens, normalize=False)
    found = encoder.text(TEXTS)
    close(found, expected)
    assert found.dtype == torch.float32
    assert found.shape[1] == encoder.answer(images(encoder, 1), ALL)["embedding"].shape[1]
    assert encoder.scale == pytest.approx(network.logit_scale.exp().item())
    assert encoder.reads_text


def test_a_text_has_one_answer_whatever_it_is_asked_with(tiny):
    encoder, _ = tiny("vit")
    many = [f"a photo of {number}" for number in range(37)]
    found = encoder.text(many)
    assert torch.equal(encoder.text(many[20:21]), found[20:21])
    assert torch.equal(encoder.text(many[::-1]), found.flip(0))
    assert encoder.text([]).shape == (0, 20)
    for wrong in ("a cat", ["a cat", 3]):
        with pytest.raises(WrongUse, match="give a list of texts"):
            encoder.text(wrong)


@pytest.mark.parametrize("name", ["vit", "layer scale", "pooled late"])
def test_patches_are_the_last_block_with_each_token_looking_at_itself(tiny, name):
    encoder, network = tiny(name)
    batch = images(encoder)
    visual, seen = network.visual, []
    block = visual.transformer.resblocks[-1]
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0.0)
    with torch.no_grad():
        visual(normalised(batch))
        hook.remove()
        tokens = visual.ln_post(block(seen[0], attn_mask=alone))[:, 1:] @ visual.proj
    found = encoder.answer(batch, frozenset({"local"}))
    assert found.keys() == {"local"}
    close(found["local"], normalize(tokens, dim=-1))


def test_patches_of_a_resnet_are_its_pool_looking_at_one_position(tiny):
    encoder, network = tiny("resnet")
    batch = images(encoder)
    pool, seen = network.visual.attnpool, []
    hook = pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.visual(normalised(batch))
        hook.remove()
        x = seen[0].flatten(2).permute(2, 0, 1)  # (4, B, C)
        x = torch.cat([x.mean(dim=0, keepdim=True), x]) + pool.positional_embedding[:, None]
        biases = torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias])
        for position in range(1, 5):
            mask = torch.full((1, 5), -torch.inf)
            mask[0, position] = 0.0
            pooled, _ = multi_head_attention_forward(
                x[:1], x, x, x.shape[-1], pool.num_heads, None, biases, None, None, False, 0.0,
                pool.c_proj.weight, pool.c_proj.bias, training=False, need_weights=False, attn_mask=mask,
                use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight,
                v_proj_weight=pool.v_proj.weight,
            )  # fmt: skip
            found = encoder.answer(batch, frozenset({"local"}))["local"]
            assert found.shape == (4, 4, 20)
            close(found[:, position - 1], normalize(pooled[0], dim=-1))


@pytest.mark.parametrize(
    ("name", "why"), [("convnext", "its image side is timm's"), ("coca", "not the plain attention")]
)
def test_a_model_without_patch_features_says_so(tiny, name, why):
    encoder, _ = tiny(name)
    assert encoder.when_named == frozenset()
    with pytest.raises(WrongUse, match=f"clip:tiny gives no local features: .*{why}") as caught:
        encoder.answer(images(encoder, 1), frozenset({"local"}))
    assert "\n" not in str(caught.value)
    assert tiny("vit")[0].when_named == {"local"}


def test_one_pass_for_all(tiny):
    encoder, _ = tiny("vit")
    request, passes = LayerStatistics("visual.transformer.resblocks.1"), []
    hook = encoder._module.register_forward_hook(lambda *_: passes.append(1))
    batch = images(encoder)
    found = encoder.answer(batch, frozenset({"features", "embedding", "local", request}))
    hook.remove()
    assert len(passes) == 1
    assert found.keys() == {"features", "embedding", "local", request.key}
    assert found[request.key].shape == (4, 2 * 24)
    for key in ("features", "embedding", "local"):
        assert torch.equal(encoder.answer(batch, frozenset({key}))[key], found[key])


class Length(torch.nn.Module):
    needs = frozenset({"features"})

    def expression(self):
        return "length"

    def forward(self, signals):
        return signals["features"].square().sum(dim=1)


def test_patches_are_those_of_the_image_and_not_of_a_moved_one(tiny):
    encoder, _ = tiny("vit")
    batch = images(encoder)
    request = Climbed(Length(), epsilon=0.5)
    found = encoder.answer(batch, frozenset({"local", request}))
    alone = encoder.answer(batch, ALL | {"local"})
    assert torch.equal(found["local"], alone["local"])
    assert not torch.allclose(found[request.key], alone["features"], rtol=0.1), "the request moved the image"


def test_requests_about_logits_are_refused(tiny):
    encoder, _ = tiny("vit")
    assert "no classifier" in encoder.refusal(Perturbed(epsilon=0.1))
    assert encoder.refusal(LayerStatistics("-1")) is None


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
        {"interpolation": "random", "mean": 0.5, "std": 0.5},
    ],
)
@pytest.mark.parametrize("shape", [(50, 70), (41, 33), (32, 32), (90, 31), (20, 25)])
def test_images_are_prepared_as_open_clip_prepares_them(tmp_path, said, shape):
    encoder = open_encoder(tiny_open_clip(tmp_path, preprocess=said))
    theirs = open_clip.image_transform(
        32,
        is_train=False,
        **{key: tuple(value) if isinstance(value, list) else value for key, value in said.items()},
    )
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    ours = encoder._normalised(encoder.prepare(image)[None])[0]
    torch.testing.assert_close(ours, theirs(Image.fromarray(image)), rtol=1e-5, atol=1e-5)


def test_through_the_store_and_back(tiny, tmp_path):
    encoder, _ = tiny("vit")
    passes = []
    hook = encoder._module.register_forward_hook(lambda *_: passes.append(1))
    wanted = ["features", "embedding", "local"]
    first = encode({"images": images(encoder, 5)}, encoder, wanted, cache=tmp_path)
    made = len(passes)
    again = encode({"images": images(encoder, 5)}, encoder, wanted, cache=tmp_path)
    hook.remove()
    assert made == len(passes) == 1
    assert first.gather("local").shape == (5, 16, 20)
    for key in wanted:
        assert torch.equal(first.gather(key), again.gather(key))
        assert torch.allclose(first.gather(key), encoder.answer(images(encoder, 5), frozenset({key}))[key], atol=1e-5)


def test_the_id_changes_with_all_that_changes_an_answer(tmp_path, tiny):
    open_encoder(tiny_open_clip(tmp_path / "model"))  # the file of weights
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    base = open_clip_config()
    ids = {"as it is": tiny("vit")[0].id}

    def of(name, config, preprocess=None):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}}))
        return open_encoder(f"clip:tiny?config={file}&weights={weights}").id

    assert of("same", dict(reversed(base.items()))) == ids["as it is"], "neither the place nor the order matters"
    ids["activation"] = of("activation", {**base, "quick_gelu": True})
    ids["heads"] = of("heads", {**base, "vision_cfg": {**VIT, "head_width": 6}})
    ids["heads of texts"] = of("texts", {**base, "text_cfg": {**base["text_cfg"], "heads": 4}})
    ids["mean"] = of("mean", base, {"mean": [0.5, 0.5, 0.5]})
    ids["way"] = of("way", base, {"resize_mode": "squash"})
    from safetensors.torch import load_file, save_file

    for name in ("visual.conv1.weight", "visual.proj", "text_projection", "logit_scale"):
        tensors = load_file(weights)
        tensors[name] = tensors[name] + 0.01
        save_file(tensors, tmp_path / "other.safetensors")
        config = tmp_path / "same.json"
        ids[name] = open_encoder(f"clip:tiny?config={config}&weights={tmp_path / 'other.safetensors'}").id
    assert len(set(ids.values())) == len(ids)


@pytest.mark.parametrize("name", ["vit", "resnet", "convnext", "coca"])
def test_the_contract(tiny, name):
    assert not check_encoder(tiny(name)[0]).skipped


def test_restored_without_texts_and_files(tiny):
    encoder, _ = tiny("vit")
    state = encoder.state()
    assert not [key for key in state if "token" in key or "text" in key], "a guard holds the image side alone"
    again = Clip.restore(json.loads(json.dumps(encoder.describe())), state)
    assert again.id == encoder.id
    assert again.scale == encoder.scale
    assert again.when_named == {"local"}
    wanted = ALL | {"local"}
    for key, answer in encoder.answer(images(encoder), wanted).items():
        assert torch.equal(again.answer(images(encoder), wanted)[key], answer)
    assert not again.reads_text
    with pytest.raises(WrongUse, match="comes from a saved classifier, which holds its image side alone"):
        again.text(["a cat"])


def test_a_saved_guard_scores_the_same_bits(tiny, tmp_path):
    encoder, _ = tiny("vit")
    guard = OpenSetClassifier(encoder, "knn(k=2)", alpha=0.2).fit({"images": images(encoder, 40)}, cache=False)
    new = {"images": images(encoder, 6, seed=1)}
    scores = guard.predict(new, cache=False).familiarity
    loaded = OpenSetClassifier.load(guard.save(tmp_path / "guard.unseen"))
    assert np.array_equal(loaded.predict(new, cache=False).familiarity, scores)


@pytest.mark.parametrize("name", ["vit", "resnet", "convnext"])
def test_the_graph_says_what_the_encoder_says(tiny, name):
    encoder, _ = tiny(name)
    batch = images(encoder)
    found = encoder.graph()(torch.from_numpy(batch))
    for key, answer in encoder.answer(batch, ALL).items():
        close(found[key], answer)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit", "resnet", "convnext"])
def test_export(tiny, tmp_path, name):
    pytest.importorskip("onnxruntime")
    from unseen.onnx import to_onnx

    encoder, _ = tiny(name)
    guard = OpenSetClassifier(encoder, "knn(k=2)", alpha=0.2).fit({"images": images(encoder, 60)}, cache=False)
    made = to_onnx(guard, tmp_path / "guard.onnx", {"images": images(encoder, 35, seed=1)})
    assert made.n == 35


def test_slopes_reach_the_pixels(tiny):
    encoder, _ = tiny("vit")
    batch = images(encoder)
    pixels = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255).requires_grad_(True)
    features = encoder.differentiable()(pixels)
    close(features.detach(), encoder.answer(batch, ALL)["features"])
    features.square().sum().backward()
    assert pixels.grad.abs().min(dim=1).values.max() > 0


def test_a_folder_of_open_clip(tiny, tmp_path):
    tiny_open_clip(tmp_path / "mine")
    encoder = open_encoder(f"clip:local-dir:{tmp_path / 'mine'}")
    assert encoder.id == tiny("vit")[0].id.replace("clip:tiny", "clip:mine")
    with pytest.raises(WrongUse, match="local-dir: brings weights and configuration, give no others"):
        open_encoder(f"clip:local-dir:{tmp_path}?pretrained=openai")
    with pytest.raises(BadInput, match=r"the folder must hold open_clip_config\.json and open_clip_model\.safetensors"):
        open_encoder(f"clip:local-dir:{tmp_path}")


def test_weights_taught_with_quick_gelu_get_it(tmp_path, monkeypatch):
    """open_clip only warns, and `clip:ViT-B-32?pretrained=openai` would answer with another activation."""
    tiny_open_clip(tmp_path)
    about = {"quick_gelu": True, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear"}
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: copy.deepcopy(open_clip_config()))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: about)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda _: str(tmp_path / "open_clip_model.safetensors"))
    encoder = open_encoder("clip:ViT-B/32?pretrained=openai")
    network = open_clip_network(open_clip_config(quick_gelu=True))
    batch = images(encoder)
    mean, std = (torch.tensor(about[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = network.encode_image(
            (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std, normalize=True
        )
    close(encoder.answer(batch, ALL)["embedding"], expected)
    assert encoder.id.startswith("clip:ViT-B-32:openai:")
    assert encoder.preprocessing()["interpolation"] == "bilinear"
    assert open_clip.pretrained.get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"] is True


@pytest.mark.parametrize("name", ["clip:ViT-B-32?pretrained=laion2b_s34b_b79k", "clip:hf-hub:nobody/nothing"])
def test_offline_says_what_to_do(monkeypatch, tmp_path, name):
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"not in the cache, and cannot be downloaded .*; give a f") as caught:
        open_encoder(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip:ViT-B-23?pretrained=openai", "open_clip has no such model; there are .*ViT-B-32"),
        ("clip:xyzzy?pretrained=openai", r"open_clip has no such model; give config=FILE\.json"),
        ("clip:ViT-B-32?pretrained=laion2b", "lists no weights 'laion2b' for it; there are .*laion2b_"),
        ("clip:ViT-B-32", r"say which weights: pretrained=TAG, one of openai, .*or weights=FILE\.safetensors"),
        ("clip:ViT-B-32?pretrained=openai&weights=x.safetensors", "give pretrained or weights, not both"),
        ("clip:tiny?config=tiny.json", "a configuration of your own needs weights"),
        ("clip:RN50?weight=x", "clip has no option 'weight'; did you mean 'weights'"),
    ],
)
def test_wrong_use(text, message):
    with pytest.raises(WrongUse, match=message):
        open_encoder(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "needs open_clip's JSON with embed_dim, vision_cfg and text_cfg"),
        (b"[]", "needs open_clip's JSON"),
        (b'{"embed_dim": 8}', r"needs open_clip's JSON .*KeyError: 'vision_cfg'"),
        (b'{"embed_dim": 8, "vision_cfg": 3, "text_cfg": {}}', "needs open_clip's JSON"),
        (b'{"embed_dim": 8, "vision_cfg": {"depth": 3}, "text_cfg": {}}', "cannot build its configuration: .*'depth'"),
        (
            json.dumps({"model_cfg": open_clip_config(), "preprocess_cfg": {"resize_mode": "longest"}}).encode(),
            "it resizes by 'longest'; supported are shortest and squash",
        ),
        (
            json.dumps(open_clip_config({**VIT, "layers": 4})).encode(),
            r"the weights lack visual\.transformer\.resblocks\.3.*another network\?",
        ),
        (json.dumps(open_clip_config({**VIT, "pool_type": "none"})).encode(), "not one vector each"),
    ],
)
def test_files_that_do_not_fit(tmp_path, content, message):
    tiny_open_clip(tmp_path)
    config = tmp_path / "config.json"
    config.write_bytes(content)
    with pytest.raises((BadInput, WrongUse), match=message) as caught:
        open_encoder(f"clip:tiny?config={config}&weights={tmp_path / 'open_clip_model.safetensors'}")
    assert "\n" not in str(caught.value)


def test_a_configuration_that_is_not_there():
    with pytest.raises(BadInput, match=r"nowhere\.json: cannot be read: No such file"):
        open_encoder("clip:tiny?config=nowhere.json&weights=x.safetensors")
