"""What ends the supervisor early: a refusal in one line, or a wish to stop."""


class Refusal(Exception):
    """The supervisor cannot go on; the message is the one line the user reads."""


class StopRequested(Exception):
    """A signal, or the end of the process that started us, asks for the end."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
