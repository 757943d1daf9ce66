"""What every encoder with a network shares: normalisation, the linear head found, requests fused."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders._passes import Passes
from unseen.encoders.base import Encoder
from unseen.errors import BadInput, DamagedFile, WrongUse
from unseen.files import fingerprint, to_json
from unseen.signals import LinearHead, Request, key_of


class ModuleEncoder(Encoder):
    """A network on normalised RGB images.

    Features are the input of the network's last linear layer, where its output is that layer's; else the output
    itself, flattened, and there are no logits.
    """

    def set_up(
        self,
        module: nn.Module,
        preprocess: Preprocess,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        head: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        """Called by a subclass's constructor, once the network has its weights.

        Args:
            module: takes ``(B, 3, H, W)``, gives one tensor.
            preprocess: brings an image to the size that the network takes.
            mean: of each channel, in units of ``[0, 1]``.
            std: of each channel.
            head: dotted name of the last linear layer; found by a probe where it is not given.
            classes: names of the outputs.

        Raises:
            WrongUse: when the network does not run on such an input, or ``head`` is not its last linear layer.
        """
        self._module = module.float().eval().requires_grad_(False)
        if any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
            # The same numbers from a fixed shape, in less time on the CPU.
            self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._preprocess = preprocess
        tensors = (*module.parameters(), *module.buffers())
        self._device = tensors[0].device if tensors else torch.device("cpu")
        self._mean = torch.tensor(list(mean), dtype=torch.float32, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(list(std), dtype=torch.float32, device=self._device).view(1, -1, 1, 1)
        if not bool((torch.isfinite(self._mean) & torch.isfinite(self._std) & (self._std > 0)).all()):
            raise WrongUse(f"mean {tuple(mean)} and std {tuple(std)} must be finite, and std above 0")
        self._layers = dict(module.named_modules())
        self._head = self._find_head(head)
        if self._head is not None:
            layer = self._layers[self._head]
            assert isinstance(layer, nn.Linear)
            bias = layer.bias if layer.bias is not None else layer.weight.new_zeros(layer.out_features)
            if classes is not None and len(classes) != layer.out_features:
                raise WrongUse(f"{len(classes)} class names were given for a head of {layer.out_features} outputs")
            self.classes = tuple(classes) if classes is not None else None
            self.head = LinearHead(layer.weight.detach().cpu().clone(), bias.detach().cpu().clone(), self.classes)
        elif classes is not None:
            raise WrongUse(f"{len(classes)} class names were given, but the network's output is not a linear layer's")
        self._passes = Passes(self._module, self._head, self._std, self._normalised(self._noise()))
        self._hash = fingerprint(
            *(part for name, tensor in sorted(module.state_dict().items()) for part in (name, _bytes(tensor)))
        )

    @property
    def id(self) -> str:
        """Name, hash of the weights, preprocessing and normalisation."""
        shape = to_json(
            {**self._preprocess.describe(), "mean": self._mean.flatten(), "std": self._std.flatten()},
            indent=None,
        )
        return f"{self._label()}:{self._hash[:16]}:{shape}"

    def _label(self) -> str:
        return self.name

    @property
    def provides(self) -> frozenset[str]:
        """``features``, and ``logits`` where there is a linear head."""
        return frozenset({"features", "logits"} if self._head is not None else {"features"})

    @property
    def module(self) -> nn.Module:
        """Normalisation and network, for pixels in ``[0, 1]``."""
        return nn.Sequential(_Normalise(self._mean, self._std), self._module).eval()

    def graph(self) -> nn.Module:
        """Normalisation, network and last layer, for uint8 pixels; a copy on the CPU."""
        return _Graph(self._module, self._head, self._mean, self._std).cpu().eval()

    def differentiable(self) -> nn.Module:
        """Normalisation and network up to the last linear layer; a copy, so that its slopes reach nothing else."""
        # A network that was copied in a caller's inference mode could not be differentiated.
        with torch.inference_mode(False):
            return _Features(self._module, self._head, self._mean, self._std).eval()

    def preprocessing(self) -> dict[str, Any]:
        """Resizing and cropping; the normalisation is in the graph."""
        return self._preprocess.describe()

    def state(self) -> dict[str, Tensor]:
        """The network's tensors, on the CPU."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self._module.state_dict().items()}

    def to(self, device: str | torch.device) -> Self:
        """Move the network.

        Raises:
            WrongUse: when this build of torch has no such device.
        """
        try:
            target = torch.device(device)
            torch.zeros(1, device=target).cpu()  # before anything is moved; "meta" has no numbers to bring back
        except (RuntimeError, AssertionError, ValueError) as error:
            raise WrongUse(f"device {str(device)!r} cannot be used: {one_line(error)}") from error
        self._module.to(target)
        self._device, self._mean, self._std = target, self._mean.to(target), self._std.to(target)
        self._passes.std = self._std
        return self

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Resized and cropped, uint8 ``(H, W, 3)``."""
        return self._preprocess(image)

    @property
    def stages(self) -> tuple[str, ...]:
        """Dotted names of the layers at which the network's stages end; requests count them from the back."""
        return self._passes.stages

    def refusal(self, request: Request) -> str | None:
        """Why the network cannot answer a request; None where it can."""
        return self._passes.refusal(request)

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """One pass for features, logits and all that reduces layers; requests with slopes share their first pass."""
        other = [w for w in wanted if isinstance(w, str) and w not in self.provides]
        if other:
            raise WrongUse(f"{self.name} gives {' and '.join(sorted(self.provides))}, not {', '.join(sorted(other))}")
        for want in wanted:
            if isinstance(want, Request) and (why := self.refusal(want)) is not None:
                raise WrongUse(f"{self.name} cannot answer {want.key}: {why}")
        with _exact(self._device):
            answers = self._passes.answers(lambda: self._normalised(batch), sorted(wanted, key=key_of))
        return {key: answers[key].float().cpu() for key in map(key_of, wanted)}

    def _normalised(self, batch: np.ndarray) -> Tensor:
        x = torch.tensor(batch, device=self._device)  # (B, H, W, 3) uint8, a copy: the batch may be read-only
        return (x.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std  # (B, 3, H, W), channels last

    def _noise(self) -> np.ndarray:
        """Four images to look at the network with: on black ones layers are equal too easily."""
        height, width = self._preprocess.shape
        return np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)

    def _find_head(self, asked: str | None) -> str | None:
        linear = {name: layer for name, layer in self._layers.items() if isinstance(layer, nn.Linear)}
        if asked is not None and asked not in linear:
            raise WrongUse(f"the network has no linear layer {asked!r}; it has {', '.join(linear) or 'none'}")
        outputs: dict[str, Tensor] = {}
        hooks = [layer.register_forward_hook(_keep_output(outputs, name)) for name, layer in linear.items()]
        noise = self._noise()
        try:
            with torch.inference_mode():
                height, width = noise.shape[1:3]
                out = self._module(self._normalised(noise))
        except Exception as error:  # the user's own code
            raise WrongUse(f"the network does not run on images of {height}x{width}: {one_line(error)}") from error
        finally:
            for hook in hooks:
                hook.remove()
        if not isinstance(out, Tensor):
            raise WrongUse(f"the network gives a {type(out).__name__}, not one tensor: wrap it")
        if out.ndim < 2 or len(out) != len(noise):
            raise WrongUse(
                f"the network gives {tuple(out.shape)} for {len(noise)} images: its first axis must be theirs"
            )
        fitting = [
            name
            for name, held in outputs.items()
            if asked in (None, name) and out.ndim == 2 and held.shape == out.shape and torch.equal(held, out)
        ]
        if asked is not None and not fitting:
            raise WrongUse(f"the network's output is not that of its layer {asked!r}: name the last linear layer")
        return fitting[-1] if fitting else None


def _exact(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Whole float32: cuDNN rounds inputs to ten bits unless told otherwise, and numbers of one store must agree."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    exact: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return exact


def one_line(error: BaseException) -> str:
    """Type and first line of a foreign error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def load_weights(module: nn.Module, weights: str | Path) -> dict[str, str]:
    """Load a safetensors file into ``module``, half precision raised; returns the file's metadata.

    Raises:
        BadInput: when there is no such file, or its tensors are not those of the network.
        DamagedFile: when it is not a whole safetensors file; others are never opened, as a pickle runs code.
    """
    path = Path(weights)
    if not path.is_file():
        raise BadInput(f"{path}: there is no such weights file")
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        hint = "; save the tensors with safetensors.torch.save_file" if path.suffix != ".safetensors" else ""
        raise DamagedFile(f"{path}: not a whole safetensors file ({error}){hint}") from error
    load_state(module, tensors, str(path))
    return dict(metadata)


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load ``tensors`` into ``module``; counters of batch norm may be absent, nothing else.

    Raises:
        BadInput: naming the first tensor that is missing, left over or of another shape.
    """
    expected = module.state_dict()
    missing = [n for n in expected if n not in tensors and not n.endswith("num_batches_tracked")]
    extra = [n for n in tensors if n not in expected]
    other = [n for n in tensors if n in expected and tensors[n].shape != expected[n].shape]
    for kind, names in (("lack", missing), ("have an unknown", extra), ("have another shape for", other)):
        if names:
            raise BadInput(f"{source}: the weights {kind} {names[0]} ({len(names)} such tensors): another network?")
    module.load_state_dict(dict(tensors), strict=False)


def numbers(value: Any, what: str) -> tuple[float, ...]:
    """Three floats from three numbers, or from their text with commas.

    Raises:
        WrongUse: for anything else.
    """
    try:
        parts = tuple(float(v) for v in (value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError) as error:
        raise WrongUse(f"{what} must be three numbers such as 0.485,0.456,0.406, got {value!r}") from error
    if len(parts) != 3:
        raise WrongUse(f"{what} must be three numbers, one a channel, got {value!r}")
    return parts


class _Normalise(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class _Graph(nn.Module):
    """Pixels -> signals. The last linear layer is taken off the network and applied after it, so no hook is needed."""

    def __init__(self, module: nn.Module, head: str | None, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.normalise = _Normalise(mean, std)
        self.body, self.last = _before_head(module, head)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        output: Tensor = self.body(self.normalise(pixels.permute(0, 3, 1, 2).float() / 255))  # (B, 3, H, W) -> (B, D)
        if self.last is None:
            return {"features": output.flatten(1)}
        return {"features": output, "logits": self.last(output)}


class _Features(nn.Module):
    """Pixels in ``[0, 1]`` -> features."""

    def __init__(self, module: nn.Module, head: str | None, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.normalise, self.body = _Normalise(mean, std), _before_head(module, head)[0]

    def forward(self, pixels: Tensor) -> Tensor:
        with _exact(pixels.device):
            output: Tensor = self.body(self.normalise(pixels))  # (B, 3, H, W) -> (B, D)
        return output.flatten(1)


def _before_head(module: nn.Module, head: str | None) -> tuple[nn.Module, nn.Module | None]:
    """A copy of the network that ends where its last linear layer begins, and that layer's own copy."""
    body = copy.deepcopy(module)
    if head is None:
        return body, None
    last = body.get_submodule(head)
    through = _Through(last)
    # A layer may be registered under several names, each of which must let the features through.
    for parent in list(body.modules()):
        for name in [name for name, child in parent._modules.items() if child is last]:
            setattr(parent, name, through)
    return (through if body is last else body), last


class _Through(nn.Module):
    """Stands for a layer and gives its input; the network may still look at the layer's weight or width."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        own = name in ("layer", "_modules") or name in nn.Module.__dict__
        return super().__getattr__(name) if own else getattr(super().__getattr__("layer"), name)

    def forward(self, x: Tensor) -> Tensor:
        return x


def _keep_output(into: dict[str, Tensor], name: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        into[name] = output.clone()  # as the next layer may write to it

    return hook


def _bytes(tensor: Tensor) -> bytes:
    # Byte view first: numpy has no bfloat16.
    plain = tensor.detach().cpu().contiguous().flatten()
    return f"{tuple(tensor.shape)}{tensor.dtype}".encode() + plain.view(torch.uint8).numpy().tobytes()
