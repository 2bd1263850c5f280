import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.arn_patterns import arn_matcher, check_arn
from app.policy.errors import InvalidPolicy
from app.policy.patterns import with_wildcards

BUCKET = "arn:aws:s3vectors:us-east-1:111122223333:bucket/books"
INDEX = f"{BUCKET}/index/novels"
USER = "arn:aws:iam::111122223333:user/ana"

# Each row: a pattern, the ARNs that match it, the ARNs that do not.
CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "itself": (BUCKET, [BUCKET], [INDEX, BUCKET.upper(), BUCKET[:-1]]),
    "a bucket does not cover its indexes": (f"{BUCKET}/*", [INDEX, f"{BUCKET}/"], [BUCKET]),
    "a star covers slashes": ("arn:aws:s3vectors:us-east-1:111122223333:bucket/*", [BUCKET, INDEX], [USER]),
    "any region and account": ("arn:aws:s3vectors:*:*:bucket/books", [BUCKET], [INDEX]),
    "an empty segment": ("arn:aws:iam::*:user/?na", [USER], [USER + "x", USER.replace("::", ":x:")]),
    "a star stands for an empty segment": ("arn:*:iam:*:*:*", [USER], [BUCKET]),
    "a question mark does not": ("arn:aws:iam:?:*:*", [], [USER]),
    "a star does not reach over a colon": (
        "arn:aws:s3vectors:*:bucket/books:*",
        [],
        [BUCKET, "arn:aws:s3vectors:us-east-1:111122223333:bucket/books"],
    ),
    "but the last one does": ("arn:aws:iam::111122223333:*", [USER, USER + ":a:b"], [BUCKET]),
    "a short one is completed": ("arn:aws:s3vectors:*", [BUCKET, INDEX], [USER]),
    "a short one may end in part of a segment": ("arn:aws:s3vectors:us*", [BUCKET], [USER, BUCKET.replace("us", "eu")]),
    "everything": ("*", [BUCKET, USER], []),
    "wildcards in the partition": ("arn:a?s:iam::111122223333:user/ana", [USER], [BUCKET]),
    "a resource with colons": ("arn:aws:x:y:z:a:b", ["arn:aws:x:y:z:a:b"], ["arn:aws:x:y:z:a", "arn:aws:x:y:z:a:c"]),
    "what is no ARN": ("arn:*:*:*:*:*", [BUCKET, USER], ["", "ana", "arn:aws", "arn:aws:s3vectors:us-east-1"]),
}


@pytest.mark.parametrize("name", CASES)
def test_segments(name: str) -> None:
    pattern, matching, others = CASES[name]
    check_arn(with_wildcards(pattern))
    matches = arn_matcher(with_wildcards(pattern))
    assert [arn for arn in [*matching, *others] if matches(arn)] == matching


@pytest.mark.parametrize("pattern", ["", "ana", "arn:aws:iam", "arn:aws:s3vectors:*:bucket/books", "arn:aws:iam::?"])
def test_a_short_one_without_a_star_at_its_end_is_refused_and_matches_nothing(pattern: str) -> None:
    with pytest.raises(InvalidPolicy, match="six parts"):
        check_arn(with_wildcards(pattern))
    assert not arn_matcher(with_wildcards(pattern))(pattern)


segments = st.lists(st.text(st.sampled_from("ab*?"), max_size=3), min_size=6, max_size=6)
arns = st.lists(st.text(st.sampled_from("ab"), max_size=3), min_size=6, max_size=6)


@given(segments, arns)
def test_an_arn_matches_when_each_segment_does(pattern: list[str], arn: list[str]) -> None:
    def alone(segment: str) -> str:
        return with_wildcards(f":::::{segment}")

    each = all(arn_matcher(alone(wanted))(f":::::{given}") for wanted, given in zip(pattern, arn, strict=True))
    assert arn_matcher(with_wildcards(":".join(pattern)))(":".join(arn)) is each
