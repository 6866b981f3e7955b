"""The one error that a user of nlkit is meant to see, and what the command line says of all others."""

import re
import tempfile
import traceback

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a terminal would obey."""


class NlkitError(Exception):
    """Bad input or state; the message is one line that names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__(CONTROL.sub(lambda found: ascii(found[0])[1:-1], line))


def unforeseen(error: Exception) -> tuple[int, str]:
    """Exit status and one line for an error that nobody has foreseen; the traceback of a mistake goes to a file."""
    text = NlkitError(str(error))
    if isinstance(error, MemoryError) or "memory" in str(error):  # PyTorch's are RuntimeErrors
        return 2, "out of memory; make batches, images or the network smaller (training.batch_size, model.width)"
    if isinstance(error, OverflowError) or "Overflow" in str(error):
        return 2, f"a number in the parameters is too large ({text})"
    if isinstance(error, OSError):
        return 2, f"the system refuses: {text}"
    with tempfile.NamedTemporaryFile("w", prefix="nlkit-", suffix=".txt", delete=False, encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
    return 1, f"a mistake of this program: {type(error).__name__} ({text}); please report it with the file {log.name}"
