"""The OpenAPI document: valid, complete, and in step with the routes, the bodies and the errors."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hug
import pytest
from falcon.routing.compiled import CompiledRouter

import api
from recognizer import __version__
from recognizer.core import errors
from recognizer.core.settings import Settings
from recognizer.enrolment.encodings import photo_id
from recognizer.http import bodies, hug_adapter, openapi, server
from recognizer.http.hug_adapter import Router, described_routes
from recognizer.http.openapi.operations import OPERATIONS, PARAMETERS, PHOTO_FIELDS
from recognizer.http.openapi.schemas import PHOTO_ID, SCHEMAS
from recognizer.http.parameters import switch
from recognizer.http.routes import page_routes
from recognizer.http.site import Site
from recognizer.http.statuses import status_of

ROUTES = described_routes(api.api)
DOCUMENT = json.loads(json.dumps(openapi.document(ROUTES, status_of, __version__)))
KEYS = [route.key for route in ROUTES]


def operation(key: str) -> dict:
    method, path = key.split(" ")
    return DOCUMENT["paths"][path][method.lower()]


def validator(schema: dict):
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_falcon_compiles_the_routes_of_an_application_once(monkeypatch):
    calls, compile_routes = [], CompiledRouter._compile

    def counted(router):
        calls.append(router)
        return compile_routes(router)

    monkeypatch.setattr(CompiledRouter, "_compile", counted)
    made = hug.API("tests.compiled_once")
    hug_adapter.install(made, server.Options(Settings()))
    for path in ("/one", "/two/{n}", "/two/{n}/three"):
        hug.get(path, api=made)(lambda: 1)
    app = made.http.server(None)
    assert len(calls) == 1 and CompiledRouter._compile is counted
    assert app._router.find("/two/5/three")[2] == {"n": "5"} and app._router.find("/four") is None


def test_the_document_is_made_once_for_all_who_ask_at_the_same_time(monkeypatch, settings):
    made, several = [], threading.Barrier(4)

    def counted(*args, **options):
        made.append(options["prefix"])
        time.sleep(0.2)  # so that the others come meanwhile
        return {"openapi": "3.1.0"}

    def ask() -> str:
        several.wait()
        return hug.test.get(asked, "/openapi.json").data

    monkeypatch.setattr(openapi, "document", counted)
    asked = hug.API("tests.document_once")
    site = Site(settings)
    try:
        page_routes.add_routes(Router(asked), site)
        hug.test.get(asked, "/docs/hug")  # falcon compiles its routes with the first request
        with ThreadPoolExecutor(4) as threads:
            found = [each.result() for each in [threads.submit(ask) for _ in range(4)]]
    finally:
        site.close()
    assert found == ['{"openapi": "3.1.0"}'] * 4 and made == [""]


@pytest.mark.slow
def test_it_is_a_valid_openapi_3_1_document():
    validate = pytest.importorskip("openapi_spec_validator").validate
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT)


def test_every_route_of_the_server_is_in_it_and_nothing_else():
    served = {
        f"{method} {path}"
        for routes in api.api.http.routes.values()
        for path, methods in routes.items()
        for method in methods
        if not any(dialect.claims(path, method) for dialect in api.site.gate.dialects)
    }
    shown = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert served == shown == set(KEYS) == set(OPERATIONS)


def test_a_route_that_nobody_described_is_an_error():
    with pytest.raises(KeyError, match="GET /new"):
        openapi.document([openapi.Route("GET", "/new", "new", "New.")], status_of, "1")
    unknown = openapi.Route("GET", "/health", "health", "Health.", [openapi.Parameter("new", {"type": "string"})])
    with pytest.raises(KeyError, match="new"):
        openapi.document([unknown], status_of, "1")


@pytest.mark.parametrize("route", ROUTES, ids=KEYS)
def test_every_operation_says_what_it_does_takes_and_answers(route):
    shown = operation(route.key)
    assert shown["summary"] and shown["description"] and not shown["summary"].endswith(".")
    for parameter in shown["parameters"]:
        assert parameter["description"].endswith("."), parameter["name"]
        assert "example" in parameter and "type" in parameter["schema"], parameter["name"]
        validator(parameter["schema"]).validate(parameter["example"])
    replies = [reply for status, reply in shown["responses"].items() if status.startswith("2")]
    assert replies
    for reply in shown["responses"].values():
        assert reply["description"]
        for kind, content in reply["content"].items():
            assert "schema" in content
            if kind == "application/json":
                validator(content["schema"]).validate(content["example"])
    if route.method in openapi.WITH_BODY:
        content = shown["requestBody"]["content"]
        validator(content["application/json"]["schema"]).validate(content["application/json"]["example"])
        for media in content.values():
            assert "schema" in media


@pytest.mark.parametrize("route", ROUTES, ids=KEYS)
def test_every_parameter_of_the_route_has_its_place(route):
    shown = operation(route.key)
    places = {parameter["name"] for parameter in shown["parameters"]}
    for media in shown.get("requestBody", {}).get("content", {}).values():
        places |= set(media["schema"].get("properties", ()))
    whole = [each.name for each in route.parameters if each.schema["type"] == "object"]  # it is the body itself
    if whole:
        assert list(shown["requestBody"]["content"]) == ["application/json"] and len(route.parameters) == 1
    assert {parameter.name for parameter in route.parameters} <= places | set(whole)
    assert places - {parameter.name for parameter in route.parameters} <= {*PHOTO_FIELDS, "image_base64", "other_base64"}


def test_ranges_and_choices_are_those_of_the_routes():
    shown = {parameter["name"]: parameter["schema"] for parameter in operation("GET /recognize")["parameters"]}
    assert (shown["top_k"]["minimum"], shown["top_k"]["maximum"], shown["top_k"]["default"]) == (0, 100, 0)
    assert shown["format"]["enum"] == ["jpeg", "json"]
    assert shown["threshold"]["type"] == "number"


def schemas_of(shown: object) -> Iterator[dict]:
    """Every schema within a part of the document."""
    if isinstance(shown, dict):
        if "type" in shown:
            yield shown
        shown = [value for name, value in shown.items() if name not in ("example", "examples")]
    if isinstance(shown, list):
        for each in shown:
            yield from schemas_of(each)


def test_programs_that_generate_clients_understand_every_type():
    # each of these made openapi-generator 7.26 or openapi-python-client 0.29 leave out an operation or generate what fails
    for schema in schemas_of(DOCUMENT):
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert len(set(kinds) - {"null"}) <= 1, schema
        assert len({type(choice) for choice in schema.get("enum", [""]) if choice is not None}) == 1, schema
        assert "minLength" not in schema or kinds[0] == "string", schema
        assert "default" not in schema or "enum" not in schema or schema["default"] in schema["enum"], schema
        assert ("contentMediaType" in schema) == (schema.get("format") == "binary"), schema


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method in openapi.WITH_BODY], ids=lambda route: route.key)
def test_generated_clients_give_no_default_in_the_url_and_in_the_body(route):
    shown = operation(route.key)
    told = json.dumps([shown["parameters"], shown["requestBody"]])
    assert '"default":' not in told  # they would send it in both, which is refused
    for parameter in route.parameters:
        assert parameter.default is None or "Default: " in told


def test_operation_ids_make_good_names_in_clients():
    ids = {key: operation(key)["operationId"] for key in KEYS}
    assert len(set(ids.values())) == len(ids) and all(name.isidentifier() and name.islower() for name in ids.values())
    expected = {
        "POST /recognize": "recognize",
        "GET /recognize": "recognize_url",
        "POST /enroll": "enroll",
        "POST /verify": "verify",
        "GET /people": "list_people",
        "GET /people/{person}": "get_person",
        "PATCH /people/{person}": "update_person",
        "DELETE /people/{person}": "delete_person",
        "POST /cameras": "add_camera",
        "GET /events": "list_events",
    }
    assert {key: ids[key] for key in expected} == expected


def test_the_document_opens_with_recognize():
    first = next(iter(DOCUMENT["paths"]))
    assert first == "/recognize" and operation("POST /recognize")["tags"] == [DOCUMENT["tags"][0]["name"]]


def test_every_way_in_which_a_body_brings_a_photo_is_told():
    shown = json.dumps(operation("POST /verify")["requestBody"])
    for name in bodies.PHOTO_FIELDS:
        assert name in shown
    assert set(bodies.PHOTO_FIELDS.values()) == set(PHOTO_FIELDS)
    assert {in_json for in_json, _ in PHOTO_FIELDS.values()} == set(bodies.BASE64_FIELDS)


def test_every_error_that_a_route_can_answer_with_is_told_somewhere():
    told = json.dumps(DOCUMENT)
    # these do not belong to any one route: before routing, at the start, by commands only, or never shown
    elsewhere = {
        "method_not_allowed",
        "key_not_found",
        "engine_mismatch",
        "settings_error",
        "in_use",
        "audit_broken",
        "not_empty",
        "backup_broken",
        "exif_tool_missing",
    }
    for kind in openapi.with_subclasses([errors.RecognizerError]):
        if kind.code not in elsewhere and not kind.__subclasses__():
            assert f'"{kind.code}"' in told, kind.__name__


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_has_an_example_that_it_accepts_and_is_used(name):
    if name != "Photo":
        validator(SCHEMAS[name]).validate(SCHEMAS[name]["examples"][0])
    assert f"#/components/schemas/{name}" in json.dumps(DOCUMENT)


def test_no_meaning_is_left_over():
    used = {parameter.name for route in ROUTES for parameter in route.parameters}
    assert {name.split(" ")[-1] for name in PARAMETERS} == used


def test_example_ids_look_like_real_ones():
    assert len(PHOTO_ID) == len(photo_id(b"a photo")) and set(PHOTO_ID) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1, True), (0, False), ("true", True), ("False", False), ("1", True), ("0", False)],
)
def test_switches(value, expected):
    assert switch(value) is expected


@pytest.mark.parametrize("value", ["on", "", "t", "yes", 2, None, [], {}])
def test_what_is_no_switch_is_refused_with_what_is_expected(value):
    with pytest.raises(ValueError, match="expected true or false, got"):
        switch(value)
