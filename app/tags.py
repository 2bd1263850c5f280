"""Rules for tags beyond their characters: how many, and what belongs to the system."""

from app.errors import ValidationException
from app.limits import MAX_TAGS

SYSTEM_PREFIX = "aws:"


def check_tags(tags: dict[str, str]) -> None:
    """Refuses keys that AWS keeps for itself; raises ValidationException."""
    for key in tags:
        if key.startswith(SYSTEM_PREFIX):
            raise ValidationException.at("tags", "System tags cannot be added/updated by requester")
        if key.lower().startswith(SYSTEM_PREFIX):
            raise ValidationException.at(
                "tags", f'Invalid System Tag: {key} must be prefixed with "aws:" in lowercase.'
            )
    check_number(tags)


def check_number(tags: dict[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise ValidationException.at("tags", "Too many tags specified")
