"""Operations on batches of images; where one has several forms, `naive.py` is plain PyTorch and the truth.

Another form agrees with it, and the folder's `__init__` takes it only where it is measured to be faster.
"""
