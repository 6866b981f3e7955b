"""LRA-diffusion: neighbours' labels are retrieved, and a diffusion model learns to denoise them (Chen et al., 2023)."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from nlkit.data.problem import Images, Problem, TrainingSet
from nlkit.errors import NlkitError
from nlkit.lazy import DataFrame, Generator, Tensor, functional, torch
from nlkit.methods.base import GRADIENT, SingleNetwork, Split, Tick, in_full_batches, split_by_loss
from nlkit.params import Params
from nlkit.params.registry import Look, register
from nlkit.params.sections import GREY, MixtureParams, NonNegative, Positive, PositiveFloat, Width, added
from nlkit.parts.diffusion import DiffusionLearner, DiffusionParams, add_noise, antithetic_times, closeness
from nlkit.parts.epochs import warm_cosine
from nlkit.parts.features import count_votes, draw_labels, nearest, nearest_others, retrieve, vote_logits, vote_weights
from nlkit.parts.frozen import FrozenParams, frozen_encoder, read_feature_table
from nlkit.seeding import torch_stream

TEMPERATURE = 0.1
"""Of the softmax that turns a label vector into a distribution; ours. The official code has 1, under which a one-hot
vector of ten classes has a probability of 0.23 only."""
SHOWN = 16  # images whose neighbours and label vectors are recorded for the figures
NEIGHBOURS = 6  # neighbours of each of these that are recorded


class LRADiffusionParams(DiffusionParams):
    """LRA-diffusion (Chen et al., NeurIPS 2023), in the paper's symbols where it has them; see `parts.features` too.

    `optim.lr` is the peak of the learning rate, `optim.momentum` Adam's beta_1.
    """

    own_schedule: ClassVar[bool] = True

    name: Literal["lra_diffusion"]
    encoder: FrozenParams  # f_p
    query: Literal["view", "cached"] = "view"  # f_p sees the current view of an image, or its row of the bank is taken
    bank: Literal["view", "plain"] = "view"  # f_p saw one random view of each image, or the image as it is
    distance: Literal["euclidean", "cosine"] = "euclidean"
    retrieval: Literal["online", "precomputed"] = "online"
    k: Positive = 10
    exclude_self: bool = False
    weighted: bool = True
    draws: Width = 1  # label vectors for each image and step
    lr_warm_up: NonNegative = 5.0  # epochs, as the horizon, which is the run's end where it is left out
    horizon: PositiveFloat | None = None
    balanced: Positive | None = added(None)  # size of the class-balanced subset of an epoch
    evaluate_every: Positive = added(1)  # epochs from one division of all training images to the next
    mixture: MixtureParams = MixtureParams()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if 2 * self.sampling_steps > self.timesteps:
            raise ValueError("method.sampling_steps is more than half of method.timesteps; they would not be distinct")
        if self.retrieval == "precomputed" and self.query == "view":
            raise ValueError("method.retrieval 'precomputed' needs method.query 'cached'")
        if self.encoder.kind == "file" and (self.query, self.bank) != ("cached", "plain"):
            raise ValueError("method.encoder.kind 'file' needs method.query 'cached' and method.bank 'plain'")
        return self

    @property
    def pretraining(self) -> tuple[str, str] | None:
        """The key that names the pre-training, and its file; its frozen encoder may be another network."""
        return ("method.encoder.params", self.encoder.params) if self.encoder.kind == "simclr" else None

    def given_tensors(self, problem: Problem, root: Path, cut: bool) -> dict[str, Tensor] | None:
        """The features of all images, where a file holds them."""
        return read_feature_table(self.encoder, problem, root, cut) if self.encoder.kind == "file" else None


def check(params: Params[LRADiffusionParams]) -> None:
    """Raise ValueError for a schedule, a batch or an encoder that cannot be."""
    horizon = params.training.epochs if params.method.horizon is None else params.method.horizon
    if horizon < params.training.epochs:
        raise ValueError(f"method.horizon is {horizon}; the learning rate must reach at least to training.epochs")
    if params.training.batch_size < 2:
        raise ValueError("training.batch_size is 1; batch norm needs at least two images")
    if params.method.encoder.kind == "clip" and params.data.name in GREY:
        raise ValueError(f"method.encoder.kind 'clip' needs photographs in colour, not {params.data.name}")


def passes(params: Params[LRADiffusionParams], count: int, epochs: DataFrame) -> float:
    """The image encoder once for each image of a full batch, with gradient where it is trained.

    A frozen network sees each image once for the bank, and its view in each epoch where the query is of the view. The
    noise predictor is small beside them and not counted.
    """
    used = in_full_batches(params, min(count, params.method.balanced or count))
    total = (GRADIENT if params.method.train_encoder else 1) * used * len(epochs)
    if params.method.encoder.kind in ("simclr", "clip"):
        total += count + (used * len(epochs) if params.method.query == "view" else 0)
    return float(total)


@register(
    LRADiffusionParams,
    looks={"": Look("LRA-diffusion", "#D55E00", "*")},
    place=90,
    shown=("encoder", "query", "bank", "k", "weighted", "draws", "train_encoder", "width", "evaluate"),
    check=check,
    passes=passes,
    tiny={
        "encoder": {"kind": "identity"}, "k": 5, "width": 16, "timesteps": 40, "sampling_steps": 4, "lr_warm_up": 1,
    },
)  # fmt: skip
class LRADiffusion(SingleNetwork[LRADiffusionParams]):
    """A frozen encoder f_p retrieves labels, an encoder e and a noise predictor learn their distribution.

    Its "networks" are three: the one that the result is of, the same with the other weights (averaged or raw), and
    the majority vote of the k nearest neighbours, which needs no training.
    """

    learner: DiffusionLearner
    in_full_batches = True

    def __init__(self, data: TrainingSet, params: Params[LRADiffusionParams]) -> None:
        if len(data) < 3:
            raise NlkitError(f"the training set has {len(data)} images; lra_diffusion needs three, to have neighbours")
        super().__init__(data, params, params.method.balanced)
        self.k = min(self.method.k, len(data) - 2)
        self.kept = ("divided", "differs") if self.method.evaluate_every > 1 else ()
        self.clip = self.method.clip_norm
        self.plain = self.frozen.images(data.images)
        self.bank = self.plain if self.method.bank == "plain" else self._bank()
        self.counts = self._counts(self.bank, self.everything) if self.method.query == "cached" else None
        self.events = [f"{len(data)} images have {self.k} neighbours each at most"] if self.k < self.method.k else []

    def build_learner(self, name: str) -> DiffusionLearner:
        """The networks e and eps before their first step, and the frozen encoder."""
        self.frozen = frozen_encoder(self.method.encoder, self.data, self.params)
        return DiffusionLearner(self.data, self.params, name, self.frozen.features)

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in full batches."""
        return super().train_epoch(epoch, tick) | {"lr": self.learner.optimiser.param_groups[0]["lr"]}

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """For the samples `batch` [B]: retrieve, draw y', add noise to it, predict the noise."""
        view = self.learner.views.weak(self.data.images[batch], stream)
        z, counts = self._retrieve(batch, view)
        labels, votes = draw_labels(counts, self.method.draws, stream)
        w = vote_weights(votes if self.method.weighted else torch.ones_like(votes))
        loss = self._loss(view, z, labels, w, stream)
        return {"loss": loss, "own_label": (labels == self.data.labels[batch, None]).float().mean()}

    def rate(self, time: float) -> float:
        """Linear warm-up, then a cosine that reaches 0 at the horizon."""
        warm_up = self.method.lr_warm_up
        horizon = self.params.training.epochs if self.method.horizon is None else self.method.horizon
        return warm_cosine(time, self.params.optim.lr, warm_up, horizon - warm_up, 0.0)

    def _bank(self) -> Tensor:
        """f_p [N, d] of one random view of each training image, which then stays."""
        stream = torch_stream(self.device, self.params.seed, "bank")
        parts = self.data.images.split(self.params.training.eval_batch_size)
        return torch.cat([self.frozen.views(self.learner.views.weak(part, stream)) for part in parts])

    def _retrieve(self, batch: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """z [B, d] and the counts n [B, C] of the candidate labels, for the samples `batch` [B] and their views."""
        if self.counts is not None:
            return self.bank[batch], self.counts[batch]
        z = self.frozen.views(view)
        return z, self._counts(z, batch)

    def _counts(self, z: Tensor, own: Tensor) -> Tensor:
        method = self.method
        index = retrieve(self._metric(self.bank), self._metric(z), own, self.k, method.retrieval, method.exclude_self)
        return count_votes(self.data.labels, index, self.data.classes)

    def _metric(self, z: Tensor) -> Tensor:
        """Features whose Euclidean distances order the neighbours; for the cosine they get length one."""
        return functional.normalize(z, dim=1) if self.method.distance == "cosine" else z

    def _loss(self, view: Tensor, z: Tensor, labels: Tensor, w: Tensor, stream: Generator) -> Tensor:
        """(1/C) sum_i w_i |eps_i - eps(e(x_i), y_t, t, z_i)|^2 for labels and weights [B, draws] of B views."""
        learner = self.learner
        embedding = learner.embed(learner.net, view).repeat_interleave(self.method.draws, dim=0)
        y = functional.one_hot(labels.flatten(), self.data.classes).float()
        t = antithetic_times(len(y), self.method.timesteps, stream, self.device)
        noise = torch.randn(y.shape, generator=stream, device=self.device)
        noisy = add_noise(y, t, noise, learner.abar)
        predicted = learner.net.denoiser(embedding, noisy, t, z.repeat_interleave(self.method.draws, dim=0))
        return (w.flatten() * (noise - predicted).square().mean(dim=1)).sum()

    def split(self) -> Split:
        """Cross-entropies of the observed labels under both networks and under the vote, and a mixture over each.

        A network's distribution is softmax(-(y_c - 1)^2 / 0.1) of its label vector; that of the vote leaves the
        image itself out. This division is ours; it steers nothing. Where losses cannot be separated P(clean) is 0.5.
        Sampling for all images takes long: between two epochs that are divided or recorded the last division stands.
        """
        samples: dict[str, Tensor] = {}
        shown: dict[str, Any] = {"neighbours": None, "votes": None, "label_vectors": None}
        if self.recorded or self.epoch <= 1 or self.epoch % self.method.evaluate_every == 0:
            index, counts = self._divide()
            samples = {"vote": counts.gather(1, self.data.labels[:, None])[:, 0] / self.k}
            shown = self._shown(index, counts) if self.recorded else shown
        splits = [split_by_loss(one, self.method.mixture) for one in self.divided]
        return Split(
            self.divided,
            torch.cat([one.p_clean for one in splits]),
            tuple(one.mixtures[0] for one in splits),
            samples=samples,
            epoch={"argmax_differs": float(self.differs)} | shown,
        )

    def _divide(self) -> tuple[Tensor, Tensor]:
        """Sample label vectors, and take their losses [3, N]; returns neighbours [N, k] and votes [N, C]."""
        vectors = [self.learner.sample(net, self.data.images, self.plain) for net in self.learner.nets()]
        logits = [closeness(y, TEMPERATURE) for y in vectors]
        self.differs = (logits[0].argmax(dim=1) != vectors[0].argmax(dim=1)).double().mean()
        _, index = nearest_others(self._metric(self.plain), self._metric(self.bank), self.everything, self.k)
        counts = count_votes(self.data.labels, index, self.data.classes)
        logits.append(vote_logits(counts))
        losses = [functional.cross_entropy(one, self.data.labels, reduction="none") for one in logits]
        self.divided = torch.stack(losses)
        return index, counts

    def _shown(self, index: Tensor, counts: Tensor) -> dict[str, Any]:
        """For the first few images: neighbours, votes, and label vectors [S + 1, ., C]."""
        images, z = self.data.images[:SHOWN], self.plain[:SHOWN]
        path = self.learner.trajectory(self.learner.nets()[0], images, z).double()
        return {
            "neighbours": index[:SHOWN, :NEIGHBOURS].flatten().tolist(),
            "votes": counts[:SHOWN].flatten().tolist(),
            "label_vectors": path.flatten().round(decimals=4).tolist(),
        }

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] of the chosen weights, and [3, N, C]: of these, of the other weights, and of the vote."""
        z = self.frozen.images(images)
        chosen, other = (closeness(self.learner.sample(net, images, z), TEMPERATURE) for net in self.learner.nets())
        _, index = nearest(self._metric(z), self._metric(self.bank), self.k)
        vote = vote_logits(count_votes(self.data.labels, index, self.data.classes))
        return chosen, torch.stack([chosen, other, vote])
