"""Policy documents: JSON to statements, by the same code when a policy is put and when it is evaluated.

Whatever is malformed or unknown is refused, with the place and the reason; grammar: the IAM guide's page on the grammar
of the JSON policy language.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal, TypeGuard, get_args

import msgspec

from app.limits import MAX_POLICY_BYTES
from app.policy.actions import ACTIONS, VENDOR, covered_actions
from app.policy.arn_patterns import SEGMENTS, arn_matcher, check_arn
from app.policy.condition_keys import Context
from app.policy.conditions import Condition, parse_condition
from app.policy.errors import InvalidPolicy
from app.policy.principals import EVERYONE, Principals, parse_principals
from app.policy.statements import Effect, Policy, ResourceTest, Statement, policy_of
from app.policy.variables import Template, Version, parse_template

Kind = Literal["identity", "bucket"]

VERSIONS: tuple[Version, ...] = get_args(Version)

_DOCUMENT = {"Version", "Id", "Statement"}
_STATEMENT = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_OF_BUCKETS = {"Principal", "NotPrincipal"}
_RESOURCE = re.compile(rf"arn:[^:]*:{VENDOR}(:.*)", re.DOTALL)


def parse_policy(text: str, kind: Kind, user_ids: Mapping[str, str] | None = None) -> Policy:
    """`user_ids` tells the users of a bucket policy by ARN, as of when it was put. Raises InvalidPolicy."""
    document = _parse_json(text)
    _check_elements(document, _DOCUMENT)
    version = document.get("Version", "2008-10-17")
    if version not in VERSIONS:
        raise InvalidPolicy(f"Version must be {' or '.join(VERSIONS)}")
    if not _is_text(document.get("Id", "")):
        raise InvalidPolicy("Id must be a string")
    parse = partial(_parse_statement, kind, version, user_ids or {})
    statements = tuple(_located(parse, statement, f"Statement {i}") for i, statement in _statements(document))
    _check_sids(statements)
    return policy_of(statements)


def _parse_json(text: str) -> dict[str, Any]:
    """Twice: msgspec refuses what is not strict JSON in UTF-8, and only the other parser tells of repeated keys."""
    if len(text.encode(errors="surrogatepass")) > MAX_POLICY_BYTES:
        raise InvalidPolicy(f"Policy must have at most {MAX_POLICY_BYTES} bytes")
    if "\0" in text:
        raise InvalidPolicy("Policy must not contain the null character")
    try:
        msgspec.json.decode(text)
        document = json.loads(text, object_pairs_hook=_unique, parse_int=Number, parse_float=Number)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidPolicy("Policy is not valid JSON") from error
    if not isinstance(document, dict):
        raise InvalidPolicy("Policy is not a JSON object")
    return document


class Number(str):
    """As it is written: condition operators read it, and know no exponents."""

    __slots__ = ()


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and not isinstance(value, Number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidPolicy("Policy must not repeat a key of an object")
    return found


def _statements(document: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    found = document.get("Statement")
    statements = found if isinstance(found, list) else [found]
    if not statements or found is None:
        raise InvalidPolicy("Policy must have a Statement")
    return enumerate(statements, 1)


def _located(parse: Any, statement: Any, where: str) -> Statement:
    try:
        parsed: Statement = parse(statement)
    except InvalidPolicy as error:
        raise InvalidPolicy(f"{where}: {error}") from error
    return parsed


def _check_sids(statements: tuple[Statement, ...]) -> None:
    sids = [statement.sid for statement in statements if statement.sid]
    if len(set(sids)) < len(sids):
        raise InvalidPolicy("Statement ids (Sid) must be unique")


def _check_elements(found: Any, known: set[str]) -> None:
    if not isinstance(found, dict):
        raise InvalidPolicy("must be an object")
    if unknown := sorted(found.keys() - known):
        raise InvalidPolicy(f"Unknown element {unknown[0]!r}")


def _parse_statement(kind: Kind, version: Version, user_ids: Mapping[str, str], statement: Any) -> Statement:
    _check_elements(statement, _STATEMENT | _OF_BUCKETS)
    if kind == "identity" and statement.keys() & _OF_BUCKETS:
        raise InvalidPolicy("Principal is not an element of identity policies")
    effect = _parse_effect(statement)
    found, except_resources = _either(statement, "Resource", "NotResource")
    resources = _texts(found, "Resource")
    principals, except_principals = EVERYONE, False
    if kind == "bucket":
        found, except_principals = _either(statement, "Principal", "NotPrincipal")
        principals = _parse_principals(found, user_ids)
        if except_principals and effect == "Allow":
            raise InvalidPolicy("NotPrincipal must be used with Deny")
    return Statement(
        sid=_parse_sid(statement),
        effect=effect,
        actions=_parse_actions(statement),
        resources=tuple(_parse_resource(text, version) for text in resources),
        except_resources=except_resources,
        with_variables=any("${" in text for text in resources),
        principals=principals,
        except_principals=except_principals,
        conditions=tuple(_parse_conditions(statement.get("Condition", {}), version)),
    )


def _parse_effect(statement: dict[str, Any]) -> Effect:
    effect: Any = statement.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise InvalidPolicy("Effect must be Allow or Deny")
    return effect  # type: ignore[no-any-return]


def _parse_sid(statement: dict[str, Any]) -> str:
    sid = statement.get("Sid", "")
    if not _is_text(sid):
        raise InvalidPolicy("Sid must be a string")
    return sid


def _either(statement: dict[str, Any], name: str, negated: str) -> tuple[Any, bool]:
    """The one of both elements that is there, and whether it is the negated one."""
    if (name in statement) == (negated in statement):
        raise InvalidPolicy(f"There must be {name} or {negated}, and not both")
    return statement.get(name, statement.get(negated)), negated in statement


def _parse_actions(statement: dict[str, Any]) -> frozenset[str]:
    found, negated = _either(statement, "Action", "NotAction")
    covered = frozenset[str]().union(*(covered_actions(text) for text in _texts(found, "Action")))
    return ACTIONS - covered if negated else covered


def _parse_principals(found: Any, user_ids: Mapping[str, str]) -> Principals:
    if found == "*":
        return EVERYONE
    if not isinstance(found, dict) or set(found) != {"AWS"}:
        raise InvalidPolicy('Principal must be "*" or {"AWS": ...}')
    return parse_principals(_texts(found["AWS"], "Principal"), user_ids)


def _parse_resource(text: str, version: Version) -> ResourceTest:
    if text == "*":
        return lambda _, __: True
    if not _RESOURCE.fullmatch(text):
        raise InvalidPolicy(f"Resource {text!r} is not an ARN of {VENDOR}")
    template = parse_template(text, version, wildcards=True)
    if template.constant is None:
        if text.partition("${")[0].count(":") < SEGMENTS - 1:
            raise InvalidPolicy(f"Policy variables must stand behind the fifth colon of {text!r}")
        return partial(_matches_rendered, template)
    check_arn(template.constant)
    matches = arn_matcher(template.constant)
    return lambda resource, _: matches(resource)


def _matches_rendered(template: Template, resource: str, context: Context) -> bool:
    """With a variable that has no value it is no resource at all."""
    rendered = template.render(context)
    return rendered is not None and arn_matcher(rendered)(resource)


def _parse_conditions(block: Any, version: Version) -> Iterator[Condition]:
    if not isinstance(block, dict):
        raise InvalidPolicy("Condition must be an object")
    for operator, keys in block.items():
        if not isinstance(keys, dict) or not keys:
            raise InvalidPolicy(f"Condition {operator} must be an object and name a key")
        for key, values in keys.items():
            yield parse_condition(operator, key, _scalars(values, f"{operator} {key}"), version)


def _texts(found: Any, element: str) -> list[str]:
    """One string or a list of them, and at least one."""
    values = found if isinstance(found, list) else [found]
    if not values or not all(map(_is_text, values)):
        raise InvalidPolicy(f"{element} must be a string or a list of strings")
    return values


def _scalars(found: Any, where: str) -> list[str]:
    """Strings, numbers and booleans, all as text."""
    values = found if isinstance(found, list) else [found]
    if not values or not all(isinstance(value, str | bool) for value in values):
        raise InvalidPolicy(f"{where}: values must be strings, numbers or booleans")
    return [str(value).lower() if isinstance(value, bool) else value for value in values]
