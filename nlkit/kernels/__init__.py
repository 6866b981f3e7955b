"""One folder an operation: `naive.py` is plain PyTorch and the truth; faster forms must agree with it."""
