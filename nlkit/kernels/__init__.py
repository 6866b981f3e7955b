"""One folder an operation: `naive.py` is plain PyTorch and the truth, `README.md` its derivation.

One rule: another form agrees with `naive.py`, and the folder's `__init__` takes it only where it is measured to be
faster.
"""
