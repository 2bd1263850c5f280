"""ARNs with wildcards: compared segment by segment, so that no `*` reaches over a colon into the next one."""

from app.policy.errors import InvalidPolicy
from app.policy.patterns import ANY, ONE, Matcher, matcher

SEGMENTS = 6


def check_arn(pattern: str) -> None:
    """A shorter one is complete when it ends in `*`, which then stands for all that follows. Raises InvalidPolicy."""
    if not _is_complete(pattern.split(":", SEGMENTS - 1)):
        raise InvalidPolicy("An ARN must have six parts or end in *")


def arn_matcher(pattern: str) -> Matcher:
    """Of a pattern with the wildcards of `app.policy.patterns`; what is no ARN matches nothing."""
    segments = pattern.split(":", SEGMENTS - 1)
    if not _is_complete(segments):
        return _nothing
    colons = len(segments) - 1
    if not {ANY, ONE} & {*"".join(segments[:-1])}:  # the commonest form, and then the colons stand where they stand
        return matcher(pattern)
    *before, last = [matcher(segment) for segment in segments]

    def matches(arn: str) -> bool:
        parts = arn.split(":", colons)
        # The last segment first: it is the one that differs most between the statements of a policy.
        if not last(parts[-1]) or len(parts) <= colons:
            return False
        return all(match(part) for match, part in zip(before, parts, strict=False))

    return matches


def _is_complete(segments: list[str]) -> bool:
    return len(segments) == SEGMENTS or segments[-1].endswith(ANY)


def _nothing(_: str) -> bool:
    return False
