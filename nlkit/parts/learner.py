"""A network with its optimiser, precision and views: what every method trains, alone or with heads of its own."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nlkit import parallel
from nlkit.data.problem import Images, TrainingSet
from nlkit.lazy import Tensor, functional, no_grad, torch
from nlkit.params import Params
from nlkit.params.sections import OptimParams
from nlkit.seeding import derive, global_stream
from nlkit.views import Views

if TYPE_CHECKING:
    from nlkit.models.networks import ContrastiveNet, TwinNet

Result = TypeVar("Result")


def choose_precision(asked: str, device: torch.device) -> torch.dtype:
    """The dtype of convolutions: as asked, or with `auto` bfloat16 where that is the faster one.

    Intel's AVX-512 multiplies bfloat16 more slowly than float32 (rows `gemm` of `benchmarks/results.csv`); its AMX, and
    the AVX-512 of AMD, do it faster.
    """
    if asked != "auto":
        return torch.float32 if asked == "fp32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    wide = torch.cpu._is_avx512_bf16_supported() and "Intel" not in cpu_name()
    return torch.bfloat16 if wide or torch.cpu._is_amx_tile_supported() else torch.float32


def cpu_name() -> str:
    """The name of this machine's processor, or at least of its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def through(
    part: Callable[[Tensor], Any], inputs: Tensor, dtype: torch.dtype, sizes: Sequence[int] | None = None
) -> Any:
    """What a network or a part of one makes of inputs; with bfloat16 convolutions and products run in it.

    Several processes share out the rows, or those of each of consecutive parts where their `sizes` are given.
    """
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        return parallel.share_out(part, inputs.contiguous(memory_format=torch.channels_last), sizes)


class Learner:
    """One network and its SGD state; `name` separates its random initialisation from the others'."""

    def __init__(self, data: TrainingSet, params: Params[Any], name: str) -> None:
        self.device = data.images.device
        net = self.build_network(data, params, derive(params.seed, name, "init"))
        if parallel.count() > 1:
            from nlkit.models.shared import for_shares

            net = for_shares(net)
        self.net: torch.nn.Module = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.views = Views(params.views, data.mean, data.std, self.device)
        self.dtype = choose_precision(params.training.precision, self.device)
        self.eval_batch_size = params.training.eval_batch_size
        self.accumulate, self.waiting = params.training.accumulate, 0  # losses whose gradients wait for a step
        self.optimiser = self.build_optimiser(params.optim)

    def build_network(self, data: TrainingSet, params: Params[Any], seed: int) -> torch.nn.Module:
        """The freshly initialised network: the model, with the heads that `add_heads` gives it."""
        from nlkit.models import build_model

        body = build_model(params.model, data.images.shape[3], data.classes, seed)
        with global_stream(torch.device("cpu"), seed, "heads"):
            return self.add_heads(body, params.method, data.classes)

    def build_optimiser(self, optim: OptimParams) -> torch.optim.Optimizer:
        """SGD with momentum over all weights."""
        return torch.optim.SGD(
            self.net.parameters(), lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay
        )

    def add_heads(self, body: torch.nn.Module, method: Any, classes: int) -> torch.nn.Module:
        """The network of a model: here the model as it is."""
        return body

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits float32 [B, C] of normalised inputs [B, channels, H, W], in the network's current mode."""
        return self.through(self.net, inputs).float()

    def through(self, part: Callable[[Tensor], Any], inputs: Tensor) -> Any:
        """What a part of the network makes of inputs, in the network's precision."""
        return through(part, inputs, self.dtype)

    def in_parts(self, batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Logits [B_i, C] of several batches in one pass, in which batch norm sees each as a batch of its own.

        The same as one call for each, running statistics included, up to rounding; convolutions see one large batch.
        """
        sizes = [len(batch) for batch in batches if len(batch)]
        with _batch_norm_in_parts(self.net, [len(rows) for rows in parallel.shares(sizes)]):
            logits: Tensor = through(self.net, torch.cat(list(batches)), self.dtype, sizes).float()
        return logits.split([len(batch) for batch in batches])

    def step(self, loss: Tensor, clip: float | None = None) -> None:
        """A step down the gradient of a scalar loss, or of the mean of as many as `training.accumulate` says."""
        if self.waiting == 0:
            self.optimiser.zero_grad(set_to_none=True)
        (loss / self.accumulate).backward()
        self.waiting = (self.waiting + 1) % self.accumulate
        if self.waiting == 0:
            parallel.average_gradients(self.net.parameters())
            self.update(clip)

    def update(self, clip: float | None) -> None:
        """Change the weights; the gradient is cut to the norm `clip` where that is given."""
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), clip)
        self.optimiser.step()

    def set_rate(self, lr: float) -> None:
        """The learning rate of the next steps."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def predict(self, images: Images, chosen: Tensor | None = None) -> Tensor:
        """Logits float32 [N, C] of plain images uint8 [N, H, W, C], or of those `chosen` int64 [n]; evaluation mode."""
        return torch.cat(self.of_plain(self, images, chosen))

    @no_grad()
    def of_plain(
        self, function: Callable[[Tensor], Result], images: Images, chosen: Tensor | None = None
    ) -> list[Result]:
        """Results of a function of inputs for plain images, part by part, with the network in evaluation mode."""
        size, training = self.eval_batch_size, self.net.training
        parts = images.split(size) if chosen is None else (images[part] for part in chosen.split(size))
        self.net.eval()
        results = [function(self.views.plain(part)) for part in parts]
        self.net.train(training)
        return results

    def losses(self, data: TrainingSet, chosen: Tensor | None = None) -> Tensor:
        """Cross-entropy [N] of each training image, or [n] of the `chosen`, with its label, without augmentation."""
        labels = data.labels if chosen is None else data.labels[chosen]
        return functional.cross_entropy(self.predict(data.images, chosen), labels, reduction="none")

    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes: weights, buffers and momenta, by name."""
        moments = self.optimiser.state_dict()["state"]
        buffers = {str(index): entry.get("momentum_buffer") for index, entry in moments.items()}
        known = {index: buffer for index, buffer in buffers.items() if buffer is not None}
        return with_prefix("net", self.net.state_dict()) | with_prefix("momentum", known)

    def load_tensors(self, state: dict[str, Tensor]) -> None:
        """Take back what `tensors` returned."""
        self.net.load_state_dict(without_prefix("net", state))
        buffers = without_prefix("momentum", state)
        moments = {int(index): {"momentum_buffer": buffer.clone()} for index, buffer in buffers.items()}
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})


class TwinLearner(Learner):
    """A learner of a TwinNet; projections leave it with length one and in float32."""

    net: TwinNet

    def add_heads(self, body: torch.nn.Module, method: Any, classes: int) -> torch.nn.Module:
        """Classifier and projection of TCL; the method's section has `hidden`, `dim` and `dropout`."""
        from nlkit.models.networks import TwinNet

        return TwinNet(body, classes, method.hidden, method.dim, method.dropout)

    def both(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Unit projections v [B, D] and logits [B, C] of normalised inputs, in the network's current mode."""
        projections, logits = self.through(self.net.both, inputs)
        return functional.normalize(projections.float(), dim=1), logits.float()

    def embed(self, images: Images) -> tuple[Tensor, Tensor]:
        """Unit projections [N, D] and logits [N, C] of plain images uint8 [N, H, W, C], in evaluation mode."""
        projections, logits = zip(*self.of_plain(self.both, images), strict=True)
        return torch.cat(projections), torch.cat(logits)


class ContrastiveLearner(Learner):
    """A learner of a ContrastiveNet; embeddings and features leave it with length one and in float32."""

    net: ContrastiveNet

    def add_heads(self, body: torch.nn.Module, method: Any, classes: int) -> torch.nn.Module:
        """The model's own classifier, and a projector; the method's section has `dim` and `hidden`."""
        from nlkit.models.networks import ContrastiveNet

        return ContrastiveNet(body, method.dim, method.hidden)

    def embed(self, inputs: Tensor) -> Tensor:
        """Unit embeddings z [B, dim] of normalised inputs [B, channels, H, W], in the network's current mode."""
        return functional.normalize(self.through(self.net.project, inputs).float(), dim=1)

    def features(self, images: Images) -> Tensor:
        """Unit features [N, D] of plain images uint8 [N, H, W, C], in evaluation mode and in order."""
        parts = self.of_plain(lambda inputs: self.through(self.net.encoder, inputs).float(), images)
        return torch.cat([functional.normalize(part, dim=1) for part in parts])

    def load_parts(self, weights: Mapping[str, Tensor], *names: str) -> None:
        """Take the weights of the named parts (`encoder`, `projector`) from tensors called `<part>.<name>`."""
        for name in names:
            getattr(self.net, name).load_state_dict(without_prefix(name, weights))


def with_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix.name`; no prefix leaves the names as they are."""
    return {f"{prefix}.{name}" if prefix else name: value for name, value in state.items()}


def without_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.`, with that prefix removed."""
    start = f"{prefix}." if prefix else ""
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


@contextmanager
def _batch_norm_in_parts(net: torch.nn.Module, sizes: list[int]) -> Iterator[None]:
    """Inside, each batch norm normalises consecutive parts of its input one after the other."""
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.forward = lambda x, whole=norm.forward: torch.cat([whole(part) for part in x.split(sizes)])  # type: ignore[method-assign, misc]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward
