"""Figures of single pages: methods side by side, noise models, and what one method alone shows."""
