"""Frigate without cameras and detectors: its configuration, database, events, MQTT and API. Run by `tests.manual.frigate`.

It runs in Frigate's folder and environment, not in this project's. What a camera would show comes as lines of JSON on the
standard input: ``{"camera": name, "photo": file, "people": {id: [left, top, right, bottom]}}`` for a frame and the people whom
a detector and a tracker would have found on it, and ``{"user": name, "password": text, "role": name}`` for a user.

Packages that only detectors, embeddings and the like need are replaced by modules that do nothing. Everything that deals with
an event after the tracker is Frigate's own: `TrackedObjectProcessor`, `EventProcessor`, `Dispatcher`, `MqttClient` and the API.
"""

import importlib.abc
import importlib.machinery
import inspect
import json
import logging
import multiprocessing
import os
import sys
import threading
import time
import types
import warnings


class _NothingType(type):
    """A class whose attributes are such classes too."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing(name)


def _nothing(name):
    """A class that can be made of anything; called as a decorator, its instances return what is decorated."""
    passes = lambda self, *given, **named: given[0] if given and callable(given[0]) else None  # noqa: E731
    return _NothingType(
        name, (), {"__init__": lambda *_, **__: None, "__call__": passes, "__class_getitem__": lambda item: item}
    )


class _NothingModule(types.ModuleType):
    __path__: list = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = _nothing(name)
        setattr(self, name, made)
        return made


class _Replacements(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages that are not installed, for Frigate's own modules; last in the list, so after everything that is."""

    def __init__(self):
        self.names = set()

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in self.names and ("." in name or not self._wanted()):
            return None
        self.names.add(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    @staticmethod
    def _wanted():
        frame = sys._getframe(2)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        file = "" if frame is None else frame.f_code.co_filename
        if "site-packages" in file or f"{os.sep}frigate{os.sep}" not in file:
            return False
        return f"{os.sep}plugins{os.sep}" not in file or file.endswith("cpu_tfl.py")  # of the detectors, one is enough

    def create_module(self, spec):
        return _NothingModule(spec.name)

    def exec_module(self, module):
        pass


class _Anything:
    """Whose methods do nothing: the tracker that turns cameras."""

    def __getattr__(self, name):
        return lambda *_, **__: None


def _called(made, values):
    """What a function of Frigate's returns, whose parameters differ between versions."""
    names = [name for name in inspect.signature(made).parameters if name != "self"]
    return made(*[values.get(name) for name in names])


def _open_database(config):
    """Frigate's database, as its own migrations make it."""
    from frigate import const, models
    from frigate.db.sqlitevecq import SqliteVecQueueDatabase
    from peewee_migrate import Router
    from playhouse.sqlite_ext import SqliteExtDatabase

    for folder in (const.CONFIG_DIR, const.CLIPS_DIR, const.THUMB_DIR, const.CACHE_DIR, const.RECORD_DIR):
        os.makedirs(folder, exist_ok=True)
    migrating = SqliteExtDatabase(config.database.path)
    Router(migrating).run()
    migrating.close()
    database = SqliteVecQueueDatabase(config.database.path, timeout=60, load_vec_extension=False)
    tables = [each for each in vars(models).values() if inspect.isclass(each) and issubclass(each, models.Model)]
    database.bind([each for each in tables if each is not models.Model])
    return database


def _start(config, database):
    """Frigate's `FrigateApp` with the parts between the tracker and the API, and the API."""
    from frigate.api.fastapi_app import create_fastapi_app
    from frigate.app import FrigateApp
    from frigate.comms.dispatcher import Dispatcher
    from frigate.comms.mqtt import MqttClient

    app = object.__new__(FrigateApp)
    app.config, app.db, app.embeddings, app.stop_event = config, database, None, multiprocessing.Event()
    app.camera_metrics, app.ptz_metrics, app.detectors, app.processes, app.detection_shms = {}, {}, {}, {}, []
    app.detected_frames_queue, app.timeline_queue = multiprocessing.Queue(10), multiprocessing.Queue()
    app.onvif_controller = types.SimpleNamespace(config=config)
    app.ptz_autotracker_thread = types.SimpleNamespace(ptz_autotracker=_Anything())
    app.init_inter_process_communicator()
    known = {
        "config": config,
        "config_updater": app.inter_config_updater,
        "onvif": app.onvif_controller,
        "ptz_metrics": app.ptz_metrics,
        "communicators": [MqttClient(config), app.inter_process_communicator],
    }
    app.dispatcher = _called(Dispatcher, known)
    app.start_detected_frames_processor()
    app.start_timeline_processor()
    app.start_event_processor()
    app.init_auth()
    known = {
        "frigate_config": config,
        "database": database,
        "detected_frames_processor": app.detected_frames_processor,
        "event_metadata_updater": app.event_metadata_updater,
        "config_publisher": app.inter_config_updater,
        "dispatcher": app.dispatcher,
        "onvif": app.onvif_controller,
        "enforce_default_admin": True,
    }
    return app, _called(create_fastapi_app, known)


def _feed(app):
    """Do what the lines of the standard input say, and print a line for each."""
    import cv2
    import numpy
    from frigate import models
    from frigate.api.auth import hash_password
    from frigate.util.image import SharedMemoryFrameManager

    frames = SharedMemoryFrameManager()
    for number, line in enumerate(sys.stdin, 1):
        asked = json.loads(line)
        if "user" in asked:
            hashed = hash_password(asked["password"], iterations=1000)
            user = {"username": asked["user"], "role": asked["role"], "password_hash": hashed, "notification_tokens": []}
            models.User.insert(user).on_conflict_replace().execute()
        else:
            camera, now = asked["camera"], time.time()
            detect = app.config.cameras[camera].detect
            photo = cv2.resize(cv2.imread(asked["photo"]), (detect.width, detect.height))
            pixels = cv2.cvtColor(photo, cv2.COLOR_BGR2YUV_I420)
            name = f"{camera}_{os.getpid()}_{number}"
            numpy.ndarray(pixels.shape, numpy.uint8, buffer=frames.create(name, pixels.size))[:] = pixels
            people = {id: _tracked(id, box, now, number, detect) for id, box in asked["people"].items()}
            app.detected_frames_queue.put((camera, name, now, people, [], []))
        print(json.dumps({"done": number}), flush=True)
    os._exit(0)  # whoever started this has ended


def _tracked(id, box, now, number, detect):
    """A person as Frigate's tracker hands it on."""
    left, top, right, bottom = box
    return {
        "id": id,
        "label": "person",
        "score": 0.9,
        "score_history": [0.9] * 5,
        "box": box,
        "area": (right - left) * (bottom - top),
        "ratio": round((right - left) / (bottom - top), 2),
        "region": [0, 0, detect.width, detect.height],
        "frame_time": now,
        "start_time": float(id.partition("-")[0]),
        "motionless_count": 0,
        "position_changes": number,
        "attributes": [],
        "centroid": ((left + right) // 2, (top + bottom) // 2),
        "estimate": box,
        "estimate_velocity": [[0.0, 0.0], [0.0, 0.0]],
    }


def main():
    replacements = _Replacements()
    sys.meta_path.append(replacements)
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("peewee_migrate").disabled = True
    import uvicorn
    from frigate.config import FrigateConfig

    port, file = sys.argv[1:]
    with open(file) as opened:
        config = FrigateConfig.parse(opened.read(), is_json=False)
    app, api = _start(config, _open_database(config))
    threading.Thread(target=_feed, args=(app,), daemon=True).start()
    print(json.dumps({"replaced": sorted(replacements.names)}), flush=True)
    uvicorn.run(api, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
