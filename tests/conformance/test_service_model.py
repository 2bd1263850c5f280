"""The oracle is AWS's own model of the API, as botocore ships it."""

import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from app import errors
from app.constraints import Input, Length, OneOf, Pattern, Range, RequiredTrait, TagPattern
from app.errors import S3VectorsError
from app.main import OPERATIONS
from app.operations import (
    index_modes,
    indexes,
    metadata_configuration,
    query_vectors,
    tags,
    vector_bucket_policies,
    vector_buckets,
    vectors,
)
from app.shapes import Output

MODEL = botocore.session.get_session().get_service_model("s3vectors")
COMPATIBILITY = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()
MODULES = [
    vector_buckets,
    vector_bucket_policies,
    indexes,
    index_modes,
    metadata_configuration,
    vectors,
    query_vectors,
    tags,
]

# The user guide has the maximum; the model has none since there are pages.
OWN_RANGES = {"topK": Range(1, 10_000)}


def operation(name: str) -> Any:
    return MODEL.operation_model(name)


def struct(name: str) -> Any:
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def wire_hints(shape: Any) -> dict[str, Any]:
    hints = get_type_hints(shape, include_extras=True)
    names = zip(shape.__struct_fields__, shape.__struct_encode_fields__, strict=True)
    return {wire: hints[field] for field, wire in names}


def flat(annotation: Any) -> list[Any]:
    """Every metadata object on the way down to the type itself, through unions."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return [*metadata, *flat(inner)]
    if get_origin(annotation) in (list, dict):
        return [annotation]
    return [found for argument in get_args(annotation) for found in flat(argument)] or [annotation]


def test_every_operation_of_the_model_is_served() -> None:
    routes = {o.opt["route"] for o in OPERATIONS}
    for name in MODEL.operation_names:
        http = operation(name).http
        assert (http["method"], http["requestUri"].replace("/tags/{resourceArn}", "/tags").encode()) in routes
    assert len(OPERATIONS) == len(MODEL.operation_names) == 22


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_compatibility_md_says_what_is_served(name: str) -> None:
    said = re.search(rf"^\| {name} \| (\S+)", COMPATIBILITY, re.MULTILINE)
    assert said, f"docs/compatibility.md has no row for {name}"
    assert said[1] == "served"


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_every_input_member_is_known_with_its_constraints(name: str) -> None:
    shape = operation(name).input_shape
    ours = wire_hints(struct(f"{name}Input"))
    assert set(ours) == set(shape.members)
    compare_members(ours, shape)


def compare_members(ours: dict[str, Any], shape: StructureShape) -> None:
    for member, annotation in ours.items():
        found = flat(annotation)
        required = any(isinstance(trait, RequiredTrait) for trait in found)
        assert required == (member in shape.required_members), member
        if annotation is not Any and Any not in found:
            compare_constraints(member, found, shape.members[member])


def compare_constraints(member: str, found: list[Any], shape: Shape) -> None:
    metadata: Any = shape.metadata
    traits = {type(trait): trait for trait in found}
    if "enum" in metadata:
        assert traits[OneOf].values == tuple(metadata["enum"]), member
    if "pattern" in metadata:
        assert (traits.get(Pattern) or traits[TagPattern]).regex == metadata["pattern"], member
    if "max" in metadata or "min" in metadata:
        if shape.type_name == "integer":
            assert traits[Range] == OWN_RANGES.get(member, Range(metadata.get("min"), metadata.get("max"))), member
        else:
            assert traits[Length] == Length(metadata["min"], metadata["max"]), member
    for inner in found:
        if get_origin(inner) is list and isinstance(shape, ListShape):
            compare_constraints(f"{member}[]", flat(get_args(inner)[0]), shape.member)
        elif get_origin(inner) is dict and isinstance(shape, MapShape):
            compare_constraints(f"{member}.key", flat(get_args(inner)[0]), shape.key)
            compare_constraints(f"{member}.value", flat(get_args(inner)[1]), shape.value)


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_outputs_have_the_members_of_the_model_and_all_required_ones(name: str) -> None:
    shape = operation(name).output_shape
    ours = struct(f"{name}Output")
    assert issubclass(ours, Output)
    assert set(wire_hints(ours)) <= set(shape.members)
    always = {
        wire
        for field, wire in zip(ours.__struct_fields__, ours.__struct_encode_fields__, strict=True)
        if field not in ours.__struct_fields__[len(ours.__struct_fields__) - len(ours.__struct_defaults__) :]
    }
    assert set(shape.required_members) <= set(wire_hints(ours))
    assert set(shape.required_members) & always == set(shape.required_members)


@pytest.mark.parametrize("shape", MODEL.error_shapes, ids=lambda shape: shape.name)
def test_every_error_of_the_model_has_its_class_and_status(shape: StructureShape) -> None:
    error: type[S3VectorsError] = getattr(errors, shape.name)
    assert error.status_code == shape.metadata.get("error", {}).get("httpStatusCode", 400)


def test_every_input_of_ours_is_one_of_the_model() -> None:
    inputs = {c.__name__ for m in MODULES for c in vars(m).values() if isinstance(c, type) and issubclass(c, Input)}
    shared = {"Input", "VectorBucketInput", "IndexInput"}
    assert {f"{name}Input" for name in MODEL.operation_names} == inputs - shared
