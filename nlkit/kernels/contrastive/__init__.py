"""Contrastive loss with arbitrary positives; `nlkit.parts.contrast` holds the form that methods use."""

from nlkit.kernels.contrastive.naive import contrastive

__all__ = ["contrastive"]
