"""Random cases against another implementation: every disagreement has a reason, told in docs/decisions.md.

The oracle is under the AGPL and no part of this program: it runs in a process of its own.  For long campaigns set
ORACLE_CASES to the number of cases and ORACLE_SEED to another seed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.policy.evaluate import Allow, Decision, ExplicitDeny, ImplicitDeny
from tests.installations import node_packages
from tests.policy.cases import Case, Document, case, decision

ORACLE = Path(__file__).parent / "oracle"
CASES, SEED = int(os.environ.get("ORACLE_CASES", "6000")), int(os.environ.get("ORACLE_SEED", "1"))

ANSWERS: dict[type[Decision], str] = {
    Allow: "Allowed",
    ExplicitDeny: "ExplicitlyDenied",
    ImplicitDeny: "ImplicitlyDenied",
}

# IAM gives root users everything without a policy, which the oracle has to be told.
EVERYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


def simulation(of: Case) -> dict[str, Any]:
    identity = [EVERYTHING] if of.principal.is_root else of.identity
    request = {
        "action": f"s3vectors:{of.action}",
        "principal": of.principal.arn,
        "resource": {"resource": of.resource, "accountId": of.resource_account},
        "contextVariables": of.context,
    }
    policies = [{"name": str(number), "policy": policy} for number, policy in enumerate(identity)]
    return {"identityPolicies": policies, "request": request} | ({"resourcePolicy": of.bucket} if of.bucket else {})


def answers(cases: Sequence[Case]) -> list[str]:
    node_packages(ORACLE)
    lines = "".join(json.dumps(simulation(of)) + "\n" for of in cases)
    command = ["node", "simulate.mjs"]
    done = subprocess.run(command, cwd=ORACLE, input=lines, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def policies(of: Case) -> list[Document]:
    return [*of.identity, *([of.bucket] if of.bucket else [])]


def statements(of: Case) -> Iterator[Document]:
    for policy in policies(of):
        yield from policy["Statement"]


def comparisons(of: Case, family: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each operator of the family, what the policy gives it, and what the request does."""
    for statement in statements(of):
        for operator, keys in statement["Condition"].items():
            for key, values in keys.items():
                if family in operator:
                    given = of.context.get(key.lower(), ())
                    yield operator, listed(values), listed(given)


def listed(values: str | Sequence[str]) -> list[str]:
    return [values] if isinstance(values, str) else list(values)


def variables_in_an_older_document(of: Case) -> bool:
    """Version 2008-10-17, or none: IAM takes variables for text, the oracle for variables."""
    return any(policy.get("Version") != "2012-10-17" and "${" in json.dumps(policy) for policy in policies(of))


def all_but_an_arn_of_no_resource(of: Case) -> bool:
    """An action on `*` is on none of the resources that NotResource lists; the oracle wants a resource."""
    return of.resource == "*" and any("NotResource" in statement for statement in statements(of))


def any_value_if_exists_of_a_missing_key(of: Case) -> bool:
    """IfExists makes true whatever lacks its key, by the guide; the oracle lets ForAnyValue decide."""
    return any(operator.endswith("IfExists") and not given for operator, _, given in comparisons(of, "ForAnyValue:"))


def short_arn_in_a_condition(of: Case) -> bool:
    """One that ends in `*` is complete, as it is in a Resource; the oracle matches it with nothing."""
    return any(value.count(":") < 5 for _, values, _ in comparisons(of, "Arn") for value in values)


def unlike_an_arn(of: Case) -> bool:
    """What is no ARN differs from every ARN; the oracle compares it with none, not even for ArnNotEquals."""
    return any(not one.startswith("arn:") for _, _, given in comparisons(of, "ArnNot") for one in given)


def seconds_since_1970_as_date(of: Case) -> bool:
    """IAM takes them on both sides; the oracle compares them with no date, or takes them for milliseconds."""
    return any(one.isdigit() for _, values, given in comparisons(of, "Date") for one in [*values, *given])


def exponent_in_a_request(of: Case) -> bool:
    """1e1 is no number to us on either side; the oracle refuses it in a policy only."""
    return any("1e1" in given for _, _, given in comparisons(of, "Numeric"))


def variable_of_an_empty_value(of: Case) -> bool:
    """An empty text is no value: the default counts, or nothing matches; the oracle has it so for some operators."""
    written = json.dumps(policies(of)).lower()
    return of.context.get("aws:principaltag/team") == "" and "${aws:principaltag/team" in written


def null_of_an_empty_list(of: Case) -> bool:
    """A key without any value is absent; the oracle wants the list to be missing too."""
    return of.context.get("aws:tagkeys") == () and any(True for _ in comparisons(of, "Null"))


def wildcard_in_the_resource_type(of: Case) -> bool:
    """`*/novels` matches `bucket/books/index/novels`, as `*` is any text; the oracle wants to know the type."""
    return any(":*/" in json.dumps(statement) for statement in statements(of))


def address_of_the_other_family(of: Case) -> bool:
    """No address of IPv4 is one of IPv6, so that NotIpAddress holds; the oracle denies that of single addresses."""
    return any("/" not in value for _, values, _ in comparisons(of, "NotIpAddress") for value in values)


def ipv4_in_the_form_of_ipv6(of: Case) -> bool:
    """::ffff:10.0.0.1 is 10.0.0.1 when a request comes from there; to the oracle it is an address of IPv6."""
    return "::ffff:10.0.0.1" in of.context.get("aws:sourceip", ()) and any(True for _ in comparisons(of, "IpAddress"))


def escape_outside_of_like(of: Case) -> bool:
    """`${*}` is `*` wherever variables are read; the oracle reads it where wildcards are, and nowhere else."""
    found = [values for name in ("StringEquals", "StringNotEquals") for _, values, _ in comparisons(of, name)]
    return any(escape in value for values in found for value in values for escape in ("${*}", "${?}", "${$}"))


def unlike_a_variable_without_value(of: Case) -> bool:
    """Every text is, by the guide, and every resource; the oracle has it so for ARNs in conditions only."""
    missing = [f"${{{key}}}" for key in ("aws:username", "aws:PrincipalTag/team") if not of.context.get(key.lower())]
    excluded = [listed(statement.get("NotResource", [])) for statement in statements(of)]
    found = [*excluded, *(values for _, values, _ in comparisons(of, "StringNot"))]
    return any(variable in value for values in found for value in values for variable in missing)


EXPLAINED: list[Callable[[Case], bool]] = [
    variables_in_an_older_document,
    all_but_an_arn_of_no_resource,
    any_value_if_exists_of_a_missing_key,
    short_arn_in_a_condition,
    unlike_an_arn,
    seconds_since_1970_as_date,
    exponent_in_a_request,
    variable_of_an_empty_value,
    null_of_an_empty_list,
    wildcard_in_the_resource_type,
    address_of_the_other_family,
    ipv4_in_the_form_of_ipv6,
    escape_outside_of_like,
    unlike_a_variable_without_value,
]


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_every_disagreement_with_the_oracle_has_a_reason() -> None:
    random = Random(SEED)  # noqa: S311 - cases, not secrets
    cases = [case(random) for _ in range(CASES)]
    compared = [(of, ANSWERS[type(decision(of))], theirs) for of, theirs in zip(cases, answers(cases), strict=True)]
    disputed = [(of, ours, theirs) for of, ours, theirs in compared if ours != theirs]
    reasons = {explained for of, _, _ in disputed for explained in EXPLAINED if explained(of)}
    unexplained = [dispute for dispute in disputed if not any(explained(dispute[0]) for explained in EXPLAINED)]
    print(f"{len(compared)} cases, {len(disputed)} disputed")  # noqa: T201 - for campaigns
    assert not unexplained, min(map(str, unexplained), key=len)
    assert {ours for _, ours, _ in compared} == {*ANSWERS.values()}
    assert reasons == {*EXPLAINED}, "a reason that explains nothing"
