"""A network with its optimiser, precision and views: what every method trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from nlkit.lazy import functional, no_grad, torch
from nlkit.params import Params
from nlkit.params.training import OptimParams
from nlkit.parts.schedules import warm_cosine
from nlkit.seeding import derive
from nlkit.views.weak import Views

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nlkit.data.photos.stored import ImageBatch, Images
    from nlkit.data.problem import TrainingSet


def choose_precision(asked: str, device: torch.device) -> torch.dtype:
    """The dtype of convolutions: bfloat16 where `auto` finds hardware for it, else as asked."""
    if asked == "fp32":
        return torch.float32
    if asked == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


class Learner:
    """One network and its SGD state; `name` separates its random initialisation from the others'."""

    def __init__(self, data: TrainingSet, params: Params[Any], name: str) -> None:
        self.device = data.images.device
        net = self.build_network(data, params, derive(params.seed, name, "init"))
        self.net: nn.Module = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.views = Views(params.views, data.mean, data.std, self.device)
        self.dtype = choose_precision(params.training.precision, self.device)
        self.eval_batch_size = params.training.eval_batch_size
        self.epochs = params.training.epochs
        optim = params.optim
        self.optimiser = torch.optim.SGD(
            self.net.parameters(), lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay
        )

    def build_network(self, data: TrainingSet, params: Params[Any], seed: int) -> nn.Module:
        """The freshly initialised network: the model, with the heads that `add_heads` gives it."""
        from nlkit.models import build_model, seeded

        body = build_model(params.model, data.images.shape[3], data.classes, seed)
        with seeded(derive(seed, "heads")):
            return self.add_heads(body, params.method, data.classes)

    def add_heads(self, body: nn.Module, method: Any, classes: int) -> nn.Module:
        """The network of a model: here the model as it is."""
        return body

    def parameters(self) -> int:
        """How many parameters the network has."""
        return sum(weight.numel() for weight in self.net.parameters())

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits float32 [B, C] of normalised inputs [B, channels, H, W], in the network's current mode."""
        with self.autocast():
            return self.net(inputs.contiguous(memory_format=torch.channels_last)).float()

    def in_parts(self, batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Logits [B_i, C] of several batches in one pass, in which batch norm sees each as a batch of its own.

        The same as calling the network on one batch after the other, running statistics included, up to
        rounding; convolutions see one large batch.
        """
        sizes = [len(batch) for batch in batches if len(batch)]
        with _batch_norm_in_parts(self.net, sizes):
            return self(torch.cat(list(batches))).split([len(batch) for batch in batches])

    def step(self, loss: Tensor, clip: float | None = None) -> None:
        """One optimiser step down the gradient of a scalar loss, cut to the norm `clip` where that is given."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), clip)
        self.optimiser.step()

    def set_lr(self, optim: OptimParams, epoch: int) -> None:
        """The learning rate of an epoch: constant but for its drops, or that of a cosine in the epoch's middle."""
        if optim.schedule == "cosine":
            self.set_rate(warm_cosine(epoch + 0.5, optim.lr, optim.warm_up, self.epochs - optim.warm_up, 0.0))
        else:
            drops = sum(epoch >= drop for drop in optim.drop_epochs)
            self.set_rate(optim.lr * optim.drop_factor**drops)

    def set_rate(self, lr: float) -> None:
        """The learning rate of the next steps."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    @no_grad
    def predict(self, images: Images | ImageBatch) -> Tensor:
        """Logits float32 [N, C] of plain images uint8 [N, H, W, C], in evaluation mode and in order."""
        with self.evaluating():
            return torch.cat([self(self.views.plain(part)) for part in images.split(self.eval_batch_size)])

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the network is in evaluation mode; afterwards it is in the mode that it was in."""
        training = self.net.training
        self.net.eval()
        yield
        self.net.train(training)

    def losses(self, data: TrainingSet, chosen: Tensor | None = None) -> Tensor:
        """Cross-entropy [N] of each training image with its observed label, without augmentation.

        With `chosen`, int64 [n], of these images only.
        """
        if chosen is None:
            return functional.cross_entropy(self.predict(data.images), data.labels, reduction="none")
        parts = chosen.split(self.eval_batch_size)
        logits = torch.cat([self.predict(data.images[part]) for part in parts])
        return functional.cross_entropy(logits, data.labels[chosen], reduction="none")

    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes: weights, buffers and momenta, by name."""
        state = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        moments = self.optimiser.state_dict()["state"]
        for index, entry in moments.items():
            if entry.get("momentum_buffer") is not None:
                state[f"momentum.{index}"] = entry["momentum_buffer"]
        return state

    def load_tensors(self, state: dict[str, Tensor]) -> None:
        """Take back what `tensors` returned."""
        weights = {key.removeprefix("net."): value for key, value in state.items() if key.startswith("net.")}
        self.net.load_state_dict(weights)
        optimiser = self.optimiser.state_dict()
        optimiser["state"] = {
            int(key.removeprefix("momentum.")): {"momentum_buffer": value.clone()}
            for key, value in state.items()
            if key.startswith("momentum.")
        }
        self.optimiser.load_state_dict(optimiser)

    def autocast(self) -> AbstractContextManager[None]:
        """Inside, convolutions and products run in bfloat16 where that was asked for."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


@contextmanager
def _batch_norm_in_parts(net: nn.Module, sizes: list[int]) -> Iterator[None]:
    """Inside, each batch norm normalises consecutive parts of its input one after the other."""
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.forward = partial(_each_part, norm.forward, sizes)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _each_part(forward: Callable[[Tensor], Tensor], sizes: list[int], x: Tensor) -> Tensor:
    return torch.cat([forward(part) for part in x.split(sizes)])
