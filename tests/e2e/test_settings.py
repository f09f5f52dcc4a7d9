"""Settings, calibration and keys over HTTP: what is told, what can be changed, and what of it outlives the server."""

from __future__ import annotations

import pytest

from .serving import Server, code, make_key
from .test_openapi import check


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces):
    server = Server(
        tmp_path_factory.mktemp("settings"), camera="rtsp://admin:s3cretpassword@192.168.1.9/main", min_face=25, watch="off"
    )
    for number, name in enumerate(("obama", "obama2", "obama3")):
        server.put(f"Barack Obama/{number}.jpg", faces[name])
    server.put("Joe Biden/one.jpg", faces["biden"])
    with server:
        yield server


def test_every_setting_is_told_with_where_it_comes_from_and_no_secret(server):
    reply = server.get("/settings")
    check(server.get("/openapi.json").json(), reply, "GET /settings")
    found = {each["name"]: each for each in reply.json()["settings"]}
    assert found["min_face"]["value"] == 25 and found["min_face"]["source"] == "environment"
    assert found["min_face"]["label"] == found["min_face"]["variable"] == "RECOGNIZER_MIN_FACE"
    assert found["queue"]["source"] == "default" and not found["queue"]["changeable"]
    assert found["admin_key"]["value"] == "not set" and found["admin_key"]["secret"]
    assert found["camera"]["value"] == "rtsp://***@192.168.1.9/main" and "s3cretpassword" not in reply.text
    assert found["known_faces"]["value"] == ".../known_faces"  # where it lies is nobody's business
    assert [each["name"] for each in found.values() if each["changeable"]] == [
        "stranger_rate",
        "sightings_days",
        "strangers_days",
        "bin_days",
    ]


def test_the_stranger_rate_counts_at_once_and_after_a_restart(server, faces):
    before = server.recognize(faces["biden"])["faces"][0]["threshold"]
    reply = server.request("PATCH", "/settings", json={"stranger_rate": 1e-4})
    check(server.get("/openapi.json").json(), reply, "PATCH /settings")
    assert reply.status_code == 200 and (reply.json()["value"], reply.json()["source"]) == (1e-4, "page")
    after = server.recognize(faces["biden"])["faces"][0]["threshold"]
    assert after < before
    assert server.get("/health").json()["stranger_rate"] == 1e-4
    server.restart()
    assert server.recognize(faces["biden"])["faces"][0]["threshold"] == after
    assert server.get("/health").json()["threshold"] == after
    again = server.request("PATCH", "/settings", data={"stranger_rate": "0.01"}).json()
    assert (again["value"], again["source"]) == (0.01, "default")
    assert server.recognize(faces["biden"])["faces"][0]["threshold"] == before


def test_how_long_deletions_can_be_undone_counts_at_once(server, faces):
    reply = server.request("PATCH", "/settings", json={"bin_days": 2.5})
    check(server.get("/openapi.json").json(), reply, "PATCH /settings")
    assert (reply.json()["value"], reply.json()["source"]) == (2.5, "page")
    assert server.get("/bin").json()["days"] == 2.5
    assert server.request("PATCH", "/settings", json={"bin_days": 0}).json()["value"] == 0
    assert code(server.request("DELETE", "/people/nobody", params={"bin": "true"})) == "bin_off"
    for name, value in (("strangers_days", 3.0), ("sightings_days", 2.0)):
        assert server.request("PATCH", "/settings", json={name: value}).json()["value"] == value
    for name, value in (("strangers_days", 30), ("sightings_days", 14), ("bin_days", 7)):
        assert server.request("PATCH", "/settings", json={name: value}).json()["source"] == "default"
    assert server.get("/bin").json()["days"] == 7


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stranger_rate": 0},
        {"stranger_rate": 0.6},
        {"stranger_rate": -1},
        {"stranger_rate": "much"},
        {"stranger_rate": True},
        {"stranger_rate": "nan"},
        {"stranger_rate": None},
        {"stranger_rate": 0.1, "bin_days": 3},
        {"bin_days": 400},
        {"strangers_days": 0},
        {"sightings_days": "a week"},
        {"threshold": 1},
        {"admin_key": "x" * 30},
        {"stranger_rate": 0.1, "camera": "0"},
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(server, fields):
    reply = server.request("PATCH", "/settings", json=fields)
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")
    assert server.get("/health").json()["stranger_rate"] == 0.01


def test_a_rate_that_is_said_elsewhere_cannot_be_changed_here(tmp_path, faces):
    config = tmp_path / "recognizer.toml"
    config.write_text("stranger_rate = 0.05\n")
    server = Server(tmp_path, camera="none", watch="off", config=config)
    with server:
        server.put("../state/settings.json", b'{"stranger_rate": 0.2}')  # of a time when it was not said
        assert server.get("/health").json()["stranger_rate"] == 0.05
        refused = server.request("PATCH", "/settings", json={"stranger_rate": 0.1})
        assert (refused.status_code, code(refused)) == (409, "setting_fixed")
        assert "stranger_rate in recognizer.toml" in refused.json()["error"]["message"]
        shown = next(each for each in server.get("/settings").json()["settings"] if each["name"] == "stranger_rate")
        assert (shown["value"], shown["source"], shown["changeable"]) == (0.05, "config", False)
        assert shown["fixed_by"] == "stranger_rate in recognizer.toml"
        config.write_text("threshold = 1.1\n")
        server.restart()
        refused = server.request("PATCH", "/settings", json={"stranger_rate": 0.1})
        assert code(refused) == "setting_fixed" and "threshold in recognizer.toml" in refused.json()["error"]["message"]
        assert server.get("/calibration").json()["stranger_rate"] is None
        assert server.get("/calibration").json()["threshold"] == 1.1
        config.write_text("")
        server.restart()
        assert server.get("/health").json()["stranger_rate"] == 0.2


def test_the_calibration_says_what_each_rate_means_here(server):
    found = server.wait_for(lambda: (reply := server.get("/calibration").json())["current"] and reply)
    check(server.get("/openapi.json").json(), server.get("/calibration"), "GET /calibration")
    assert found["templates"] == 4 and found["stranger_rate"] == 0.01
    rates = [point["stranger_rate"] for point in found["curve"]]
    assert rates == sorted(rates) and 0.01 in rates and rates[0] == 1e-6 and rates[-1] == 0.5
    for name in ("threshold", "false_match_rate", "accepted", "mistaken"):
        values = [point[name] for point in found["curve"]]
        assert values == sorted(values), name
    here = found["curve"][rates.index(0.01)]
    assert here["threshold"] == found["threshold"]
    assert here["false_match_rate"] == pytest.approx(1 - 0.99**0.25, rel=0.01)  # one of four comparisons
    assert (here["accepted"], here["mistaken"]) == (1, 0)
    measured = found["measured"]
    assert (measured["templates"], measured["sampled"]) == (4, 4)
    assert measured["same"]["count"] == 3 and measured["different"]["count"] == 4
    [closest] = measured["closest"]
    assert {each["subject"] for each in closest["photos"]} == {"Barack Obama", "Joe Biden"}
    assert closest["distance"] > here["threshold"]
    for each in closest["photos"]:
        assert server.get(each["thumbnail"]).headers["Content-Type"] == "image/jpeg"
    # the same distance that comparing the two photos gives
    one, other = (server.get(each["thumbnail"].split("?")[0]).content for each in closest["photos"])
    verified = server.post("/verify", files=[("file", one), ("other", other)]).json()
    assert verified["distance"] == pytest.approx(closest["distance"], abs=2e-3)


def test_the_calibration_follows_the_gallery(server, faces):
    assert server.enroll("Eileen Collins", faces["collins"]).status_code == 201
    found = server.wait_for(lambda: (reply := server.get("/calibration").json())["current"] and reply)
    assert found["measured"]["templates"] == 5 and len(found["measured"]["closest"]) >= 2
    server.request("DELETE", "/people/Eileen Collins")


def test_with_nobody_enrolled_there_is_a_curve_and_nothing_measured(writer):
    found = writer.wait_for(lambda: (reply := writer.get("/calibration").json())["current"] and reply)
    assert found["templates"] == 0 and found["measured"]["closest"] == []
    assert all(point["accepted"] is None and point["threshold"] > 0 for point in found["curve"])


def test_keys_are_made_shown_once_used_and_revoked(tmp_path, faces):
    server = Server(tmp_path, camera="none", watch="off")
    server.put("Joe Biden/one.jpg", faces["biden"])
    with server:
        document = server.get("/openapi.json").json()
        nothing = server.get("/keys")
        check(document, nothing, "GET /keys")
        assert nothing.json() == {"keys": [], "setting": False}
        made = server.post("/keys", json={"name": "me", "role": "admin", "days": 0})
        check(document, made, "POST /keys")
        assert made.status_code == 201 and made.json()["expires"] is None and made.json()["state"] == "valid"
        key = made.json()["key"]
        assert code(server.get("/people")) == "key_required"  # at once
        server.always = {"headers": {"X-Api-Key": key}}
        reader = server.post("/keys", json={"name": "front door", "days": 1.5}).json()
        assert reader["role"] == "read" and reader["expires"] == pytest.approx(reader["made"] + 1.5 * 86400, abs=1)
        listed = server.get("/keys")
        check(document, listed, "GET /keys")
        assert [each["name"] for each in listed.json()["keys"]] == ["me", "front door"]
        assert key not in listed.text and "hash" not in listed.text and key not in server.log()
        shown = {"X-Api-Key": reader["key"]}
        assert server.get("/people", headers=shown).status_code == 200
        for route in ("GET /keys", "POST /keys", "GET /settings", "PATCH /settings", "GET /calibration"):
            assert code(server.request(*route.split(), headers=shown)) == "role_required"
        ended = server.request("DELETE", f"/keys/{reader['id']}")
        check(document, ended, "DELETE /keys/{key_id}")
        assert ended.json()["state"] == "revoked" and ended.json()["revoked"] >= reader["made"]
        assert code(server.get("/people", headers=shown)) == "invalid_key"
        assert code(server.request("DELETE", "/keys/none")) == "key_not_found"
        for wrong in (
            {},
            {"name": ""},
            {"name": "x", "role": "king"},
            {"name": "x", "days": -1},
            {"name": "x" * 101},
            {"name": "x", "days": 1e9},
            {"name": "x\ny"},
            {"name": "x", "days": "nan"},
        ):
            reply = server.post("/keys", json=wrong)
            assert (reply.status_code, code(reply)) == (400, "invalid_parameter"), wrong
        assert len(server.get("/keys").json()["keys"]) == 2
        # what the command line makes is listed as well
        server.always = {"headers": {"X-Api-Key": make_key(server, "admin")}}
        assert len(server.wait_for(lambda: server.get("/keys").json())["keys"]) == 3
