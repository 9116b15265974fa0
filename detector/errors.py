"""The two errors that a user can cause; the command line prints them as one line."""


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a value in the data."""


class UsageError(UserError):
    """The command line or the configuration is wrong."""
