"""What is wrong with a policy document."""


class InvalidPolicy(Exception):
    """The reason, in words for the author of the policy."""
