"""What ends a command early; the command line prints it as one line."""


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a value in the data."""


class UsageError(UserError):
    """The command line or the configuration is wrong."""


class Stopped(Exception):
    """A signal ended a run, whose state was saved; ``status`` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
