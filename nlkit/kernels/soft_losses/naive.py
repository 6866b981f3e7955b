"""The losses of MixMatch, each by itself and with PyTorch's own gradients."""

from nlkit.lazy import Tensor, torch


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """L_x: mean over rows of -sum_c t_c log softmax(logits)_c; scalar."""
    return -(targets * logits.float().log_softmax(dim=1)).sum(dim=1).mean()


def consistency(logits: Tensor, targets: Tensor) -> Tensor:
    """L_u: mean over rows and classes of (softmax(logits) - t)^2; scalar, 0 for no rows."""
    if logits.shape[0] == 0:
        return logits.new_zeros((), dtype=torch.float32)
    return (logits.float().softmax(dim=1) - targets).square().mean()


def prior_penalty(logits: Tensor) -> Tensor:
    """L_reg: KL(uniform || mean prediction over rows), 0 exactly where that mean is uniform; scalar."""
    classes = torch.tensor(float(logits.shape[1]), device=logits.device)
    return -(mean_prediction(logits).log().mean() + torch.log(classes))


def mean_prediction(logits: Tensor) -> Tensor:
    """The mean softmax [C] over rows of logits [B, C], kept from 0 so that its logarithm is finite."""
    return logits.float().softmax(dim=1).mean(dim=0).clamp_min(1e-8)


def soft_losses(logits: Tensor, targets: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """See the operation's own docstring."""
    losses = soft_cross_entropy(logits[:rows], targets[:rows]), consistency(logits[rows:], targets[rows:])
    return *losses, prior_penalty(logits)
