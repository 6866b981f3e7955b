"""The three losses of MixMatch over one matrix of logits."""

from nlkit.kernels import form
from nlkit.kernels.soft_losses.naive import mean_prediction as mean_prediction
from nlkit.kernels.soft_losses.naive import soft_cross_entropy as soft_cross_entropy
from nlkit.lazy import Tensor


def soft_losses(logits: Tensor, targets: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """L_x of the first `rows` rows of logits [R, C], L_u of the others, and L_reg of all (MixMatch); float32 scalars.

    targets: float32 [R, C]. The equations are those of `naive`. Gradients flow to the logits.
    """
    return form("soft_losses", logits.device).soft_losses(logits, targets, rows)
