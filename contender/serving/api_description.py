"""What the server tells programs about itself: OpenAPI 3.1 with the contract's own columns, and models' metadata."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from contender.contracts.contract import Contract
from contender.contracts.sections import Column, Kind
from contender.serving import routes
from contender.serving.door import field_names, told

DATATYPES: Mapping[Kind, str] = {"binary": "INT32", "multiclass": "BYTES", "regression": "FP64"}
"""Of each kind the datatype of a prediction, as the Open Inference Protocol calls it."""

_TENSORS = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
_JSON_TYPES = {"number": "number", "integer": "integer", "boolean": "boolean"}
_ERRORS = {
    400: "What is wrong, by field and row",
    401: "No key, or one that opens nothing",
    403: "The key's role is not enough",
    404: "No such route, use case or version",
    405: "Another method",
    408: "The body did not come in time",
    409: "The request id came before with another request",
    413: "Too many bytes, rows or levels",
    415: "Another content type or encoding",
    429: "The key's rate is used up",
    500: "A fault of the server's own",
    503: "No champion yet, or overloaded; Retry-After says when to ask again",
}


def describe(contracts: Sequence[Contract], needs_keys: bool) -> dict[str, Any]:
    """The document of OpenAPI for all routes."""
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "required": ["error", "request_id"],
            "properties": {
                "error": {"type": "string"},
                "request_id": {"type": "string"},
                "faults": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "rows", "found", "needed"],
                        "properties": {
                            "field": {"type": "string"},
                            "rows": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                            "found": {"type": "string"},
                            "needed": {"type": "string"},
                        },
                    },
                },
            },
        }
    }
    paths: dict[str, dict[str, Any]] = {}
    for contract in contracts:
        schemas[f"{contract.name}_record"] = record(contract)
        schemas[f"{contract.name}_answer"] = _answer(contract)
    for route in routes.ROUTES:
        if "{use_case}" not in route.path:
            single = contracts[0] if len(contracts) == 1 else None
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, single, needs_keys)
            continue
        for contract in contracts:
            path = route.path.replace("{use_case}", contract.name)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, contract, needs_keys)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Live scores of " + ", ".join(contract.name for contract in contracts),
            "version": metadata.version("contender"),
            "description": " ".join(contract.question for contract in contracts),
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if needs_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def record(contract: Contract) -> dict[str, Any]:
    """One record as JSON Schema."""
    names = field_names(contract)
    columns = contract.records.columns
    needed = [
        name
        for name in names
        if name in columns and (columns[name].required or name in (contract.records.key, contract.records.time))
    ]
    properties = {name: _property(columns.get(name), name in needed) for name in names}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": needed} if needed else {}),
    }


def _property(column: Column | None, needed: bool) -> dict[str, Any]:
    if column is None:
        return {"type": ["string", "number", "null"], "description": "as a file has it"}
    kind = _JSON_TYPES.get(column.type, "string")
    found: dict[str, Any] = {"type": kind if needed else [kind, "null"], "description": told(column)}
    if column.unit:
        found["x-unit"] = column.unit
    if column.type in ("number", "integer"):
        found |= {
            name: value for name, value in (("minimum", column.min), ("maximum", column.max)) if value is not None
        }
    if column.values is not None and column.unseen == "quarantine":
        found["enum"] = [*column.values, *([] if needed else [None])]
    elif column.values is not None:
        found["examples"] = list(column.values[:5])
    if column.type == "timestamp" and not column.format:
        found["examples"] = ["2026-01-31T12:00:00Z"]
    return found


def _answer(contract: Contract) -> dict[str, Any]:
    prediction = {"binary": "integer", "multiclass": "string", "regression": "number"}[contract.kind]
    score = {"type": "number", **({} if contract.kind == "regression" else {"minimum": 0, "maximum": 1})}
    one = {
        "score": score,
        "prediction": {"type": prediction},
        "band": {"enum": ["NORMAL", "WARNING", "CRITICAL"]},
        "missing": {
            "type": "array",
            "items": {"type": "string"},
            "description": "columns of the model that were missing when it was scored",
        },
    }
    return {
        "type": "object",
        "required": ["predictions", "use_case", "model_version", "arm", "request_id"],
        "properties": {
            "predictions": {
                "type": "array",
                "items": {"type": "object", "required": list(one), "properties": one},
            },
            "use_case": {"const": contract.name},
            "model_version": {"type": "integer", "minimum": 1},
            "arm": {"type": "string"},
            "answered_by": {"enum": ["arrays", "pipeline"]},
            "request_id": {"type": "string"},
        },
    }


def _operation(route: routes.Route, contract: Contract | None, needs_keys: bool) -> dict[str, Any]:
    name = contract.name if contract else "any"
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()} {route.path} {name}",
        "responses": {
            "200": {"description": "the answer"},
            **{
                str(status): {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for status, text in _ERRORS.items()
            },
        },
    }
    if "{version}" in route.path:
        found["parameters"] = [{"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}]
    if needs_keys and route.access != "anyone":
        found["security"] = [{"key": []}]
    if route.handler == "score" and contract is not None:
        found["summary"] = contract.question
        found["requestBody"] = {"required": True, "content": _contents(contract)}
        answer = {"schema": {"$ref": f"#/components/schemas/{name}_answer"}}
        found["responses"]["200"]["content"] = {"application/json": answer}
    if route.handler == "infer":
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _tensors()}}}
    return found


def _contents(contract: Contract) -> dict[str, Any]:
    records = {"type": "array", "maxItems": 10_000, "items": {"$ref": f"#/components/schemas/{contract.name}_record"}}
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "additionalProperties": False,
        "properties": {
            "columns": {"type": "array", "items": {"enum": list(field_names(contract))}},
            "index": {"type": "array"},
            "data": {"type": "array", "maxItems": 10_000, "items": {"type": "array"}},
        },
    }
    named = {"type": "object", "additionalProperties": {"type": "array"}}
    rows = {"type": "array", "maxItems": 10_000, "items": {"type": "array"}}
    forms = {
        "data": records,
        "dataframe_records": records,
        "dataframe_split": split,
        "instances": {"anyOf": [records, rows]},
        "inputs": {"anyOf": [named, records, rows]},
        "input_data": {"anyOf": [split, named, records, rows]},
    }
    each = [
        {"type": "object", "required": [form], "additionalProperties": False, "properties": {form: schema}}
        for form, schema in forms.items()
    ]
    text = {"schema": {"type": "string"}}
    return {"application/json": {"schema": {"anyOf": each}}, "text/csv": text, "application/jsonl": text}


def _tensors() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor, "minItems": 1}},
    }


def model(contract: Contract, version: int) -> dict[str, Any]:
    """A model's metadata, as the Open Inference Protocol has it."""
    columns = contract.records.columns
    return {
        "name": contract.name,
        "versions": [str(version)],
        "platform": "contender",
        "inputs": [
            {
                "name": name,
                "datatype": _TENSORS.get(columns[name].type, "BYTES") if name in columns else "BYTES",
                "shape": [-1],
            }
            for name in field_names(contract)
        ],
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [-1]},
            {"name": "prediction", "datatype": DATATYPES[contract.kind], "shape": [-1]},
            {"name": "band", "datatype": "BYTES", "shape": [-1]},
        ],
    }
