"""Templates that are rejected before anything is made, and what their functions and parameters come to."""

import json
from typing import Any

import pytest

from polyhost.emulator.cloudformation import parameters
from polyhost.emulator.cloudformation.functions import TemplateEvaluation
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import ValidationError

QUEUE: dict[str, Any] = {"Type": "AWS::SQS::Queue"}


def _template(**sections: Any) -> Template:
    return Template.parse(json.dumps({"Resources": {"Queue": QUEUE}} | sections))


def _queue(**properties: Any) -> dict[str, Any]:
    return QUEUE | {"Properties": properties}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"Resources": {"A": _queue(X={"Ref": "B"}), "B": _queue(X={"Fn::Sub": "${A.Arn}"})}},
            "Circular dependency between resources: [A, B]",
        ),
        ({"Resources": {"A": QUEUE | {"DependsOn": "A"}}}, "Circular dependency between resources: [A]"),
        ({"Resources": {"A": _queue(X={"Ref": "B"})}}, "Unresolved resource dependencies [B] in the Resources block"),
        ({"Resources": {"A": QUEUE | {"DependsOn": ["B"]}}}, "Unresolved resource dependencies [B]"),
        ({"Resources": {"A": _queue(X={"Fn::Sub": "${B.Arn}"})}}, "Unresolved resource dependencies [B]"),
        ({"Outputs": {"O": {"Value": {"Fn::GetAtt": "B.Arn"}}}}, "Unresolved resource dependencies [B] in the Outputs"),
        ({"Outputs": {"O": {}}}, "[/Outputs/O] has no Value"),
        ({"Resources": {"A": QUEUE | {"Condition": "C"}}}, "Unresolved condition dependency C"),
        ({"Resources": {"A": {}}}, "Every Resources object must contain a Type"),
        ({"Resources": {"A": QUEUE | {"DeletionPolicy": "Burn"}}}, "Unrecognized DeletionPolicy Burn for resource A"),
        ({"Stuff": {}}, "Invalid template property or properties [Stuff]"),
        ({"Transform": "AWS::Include"}, "No transform named AWS::Include found"),
        ({"Conditions": {"C": {"Fn::Equals": [{"Ref": "Queue"}, "a"]}}}, "conditions may refer to parameters"),
    ],
)
def test_a_template_that_is_rejected(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        _template(**sections)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        ({}, {}, "Parameters: [P] must have values"),
        ({"Default": "a"}, {"Q": "b"}, "Parameters: [Q] do not exist in the template"),
        ({"AllowedValues": ["a", 1]}, {"P": "c"}, "Parameter 'P' must be one of AllowedValues: a, 1"),
        ({"AllowedPattern": "[a-z]+"}, {"P": "A"}, "Parameter 'P' must match pattern [a-z]+"),
        (
            {"AllowedPattern": "[a-z]+", "ConstraintDescription": "lower case"},
            {"P": "A"},
            "Parameter 'P' failed to satisfy constraint: lower case",
        ),
        ({"Type": "Number"}, {"P": "many"}, "Parameter 'P' must be a number, not 'many'"),
        ({"Type": "Number", "MinValue": 2}, {"P": "1"}, "Parameter 'P' must be a number not less than 2"),
        ({"Type": "Number", "MaxValue": "2"}, {"P": "3"}, "Parameter 'P' must be a number not greater than 2"),
        ({"MinLength": 2}, {"P": "a"}, "Parameter 'P' must contain at least 2 characters"),
        ({"MaxLength": 2}, {"P": "abc"}, "Parameter 'P' must contain at most 2 characters"),
        ({"Type": "CommaDelimitedList", "AllowedValues": ["a"]}, {"P": "a, b"}, "must be one of AllowedValues: a"),
    ],
)
def test_a_value_that_is_rejected(declared: dict[str, Any], given: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        parameters.complete({"P": {"Type": "String"} | declared}, given)
    assert message in str(raised.value)


def test_values() -> None:
    declared: dict[str, dict[str, Any]] = {
        "List": {"Type": "CommaDelimitedList", "Default": "a, b"},
        "Flag": {"Type": "String", "Default": True},
        "Stored": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/name"},
        "Secret": {"Type": "String", "NoEcho": True, "Default": "s"},
    }
    texts = parameters.complete(declared, {})
    found = parameters.resolve(declared, texts, lambda name: f"value of {name}")
    assert found == {"List": ["a", "b"], "Flag": "true", "Stored": "value of /name", "Secret": "s"}
    shown = {item["ParameterKey"]: item["ParameterValue"] for item in parameters.describe(declared, texts)}
    assert (shown["Secret"], shown["Flag"]) == ("****", "true")


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ({"Ref": "P"}, "p"),
        ({"Ref": "Queue"}, "queue-url"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "queue-arn"),
        ({"Fn::GetAtt": "Queue.Arn"}, "queue-arn"),
        ({"Fn::Sub": "${P}/${Queue.Arn}/${!P}"}, "p/queue-arn/${P}"),
        ({"Fn::Sub": ["${X}-${P}", {"X": {"Ref": "List"}}]}, "['a', 'b']-p"),
        ({"Fn::Join": ["-", ["a", {"Ref": "P"}, True]]}, "a-p-true"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b"),
        ({"Fn::Select": ["1", {"Ref": "List"}]}, "b"),
        ({"Fn::Split": ["/", "a/b"]}, ["a", "b"]),
        ({"Fn::FindInMap": ["Map", {"Ref": "P"}, "k"]}, "v"),
        ({"Fn::If": ["Yes", "a", "b"]}, "a"),
        ([{"Fn::If": ["No", "a", {"Ref": "AWS::NoValue"}]}, "b"], ["b"]),
        ({"a": {"Ref": "AWS::NoValue"}, "b": 1}, {"b": 1}),
        ({"Fn::Base64": {"Ref": "P"}}, "cA=="),
        ({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}, ["10.0.0.0/24", "10.0.1.0/24"]),
        ({"Fn::ImportValue": "x"}, "imported x"),
        ({"Fn::Length": {"Ref": "List"}}, 2),
        ({"Fn::ToJsonString": {"a": {"Ref": "P"}}}, '{"a": "p"}'),
    ],
)
def test_functions(node: Any, value: Any) -> None:
    assert _evaluation().value(node) == value


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"Fn::GetAtt": "Queue.Colour"}, "resource Queue does not support attribute type Colour in Fn::GetAtt"),
        ({"Fn::FindInMap": ["Map", "q", "k"]}, "Unable to get mapping for Map::q::k"),
        ({"Fn::Select": [5, ["a"]]}, "Fn::Select cannot be evaluated"),
        ({"Fn::Unheard": []}, "does not support the function Fn::Unheard"),
        ({"Fn::If": ["Loop", 1, 2]}, "Circular dependencies for conditions: [Loop]"),
    ],
)
def test_functions_that_cannot_be_evaluated(node: Any, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        _evaluation().value(node)
    assert message in str(raised.value)


def _evaluation() -> TemplateEvaluation:
    conditions = {
        "Yes": {"Fn::And": [{"Fn::Equals": [{"Ref": "P"}, "p"]}, {"Fn::Not": [{"Condition": "No"}]}]},
        "No": {"Fn::Or": [{"Fn::Equals": ["1", "2"]}, {"Fn::Equals": ["a", "b"]}]},
        "Loop": {"Fn::Not": [{"Condition": "Loop"}]},
    }
    declared = {"P": {"Type": "String"}, "List": {"Type": "CommaDelimitedList"}}
    template = _template(Conditions=conditions, Mappings={"Map": {"p": {"k": "v"}}}, Parameters=declared)
    names = {"P": "p", "List": ["a", "b"], "AWS::Region": "eu-west-1"}
    made = {"Queue": Physical("queue-url", {"Arn": "queue-arn"})}
    return TemplateEvaluation(template, names, made, lambda name: f"imported {name}")
