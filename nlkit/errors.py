"""The one error that a user of nlkit is meant to see."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # what a terminal would obey


class NlkitError(Exception):
    """Bad input or state; the message is one line that names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__(CONTROL.sub(lambda found: ascii(found[0])[1:-1], line))
