"""The one error that is the user's to mend: one line, no traceback, exit code 2."""


class UserError(Exception):
    """A mistake in a parameter, file or argument.

    The message is one line that names the thing, what is allowed and what to do.
    """


class StageFailure(Exception):
    """A stage that broke for a reason that no parameter explains (divergence, lost rank)."""
