"""The one error that a user of nlkit is meant to see."""


class NlkitError(Exception):
    """Bad input or state; the message is one line that names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
