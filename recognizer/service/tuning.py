"""The settings in force: the source of each, and those that can be changed while the server runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recognizer.core.adjustments import Adjustments
from recognizer.core.audit import AuditLog
from recognizer.core.errors import InvalidParameter, SettingFixed, SettingsError
from recognizer.core.settings import CHANGEABLE, DEFAULT, PAGE, PREFIX, RECEIVER_SETTINGS, SETTINGS, Settings, default_of
from recognizer.video.sources.source import parse_source

if TYPE_CHECKING:
    from recognizer.service.receivers import Receivers

log = logging.getLogger("recognizer")


class Tuning:
    """The settings, and those that were changed at run time, which `adjustments.Adjustments` and `Receivers` own."""

    def __init__(self, settings: Settings, audit: AuditLog, adjustments: Adjustments):
        self._settings, self._audit = settings, audit
        self._adjustments = adjustments
        self._receivers: Receivers | None = None

    def follow(self, receivers: Receivers) -> None:
        """Report the settings about receivers of events as they are in force."""
        self._receivers = receivers

    @property
    def stranger_rate(self) -> float:
        """The rate in force."""
        return self.value("stranger_rate")

    def value(self, name: str) -> float:
        """The value in force of one of `CHANGEABLE`."""
        own: float = getattr(self._settings, name)
        changed = self._adjustments.get(name) if self._fixed_by(name) is None else None
        try:
            return own if changed is None else self._checked(name, changed)
        except InvalidParameter:  # somebody wrote the file by hand
            return own

    def all(self) -> list[dict]:
        """Every setting: its value, its source, and whether `change` accepts it. Contains no secrets."""
        return [self.one(item.name) for item in SETTINGS]

    def one(self, name: str) -> dict:
        """One of `all`."""
        rule = next(item.metadata for item in SETTINGS if item.name == name)
        settings, place, fixed = self._settings, None, None
        if name in CHANGEABLE:
            place, fixed = "/settings", self._fixed_by(name)
        elif name in RECEIVER_SETTINGS and self._receivers is not None:
            place, fixed, settings = "/receivers", self._receivers.fixed_by(name), self._receivers.in_force()
        source, label = settings.source(name)
        value = settings.shown(name)
        if name == "camera":
            value = parse_source(self._settings.camera).shown
        if name in CHANGEABLE and fixed is None and self._adjustments.get(name) is not None:
            value, source = self.value(name), PAGE
        return {
            "name": name,
            "variable": PREFIX + name.upper(),
            "value": value,
            "secret": rule["secret"],
            "source": source,
            "label": label,
            "changeable": name in CHANGEABLE and fixed is None,
            "changed_at": place if fixed is None else None,
            "fixed_by": fixed,
            "help": rule["help"],
        }

    def change(self, name: str, value: float) -> dict:
        """Change one of `CHANGEABLE`, also after a restart; setting the default removes the change.

        Raises
        ------
        InvalidParameter, SettingFixed, StorageError
        """
        value = self._checked(name, value)
        fixed = self._fixed_by(name)
        if fixed is not None:
            raise SettingFixed(f"{name} is set by {fixed}, and can only be changed there", setting=fixed)
        self._adjustments.set(name, None if value == default_of(name) else value)
        self._audit.append("setting_change", setting=name, value=value)
        log.info("%s was changed to %s", name, value)
        return self.one(name)

    def _checked(self, name: str, value: float):
        try:
            return getattr(self._settings.replace(**{name: value}), name)
        except SettingsError as error:
            raise InvalidParameter(error.message) from None

    def _fixed_by(self, name: str) -> str | None:
        """Where a changeable setting, or one that overrides it, is fixed; None if it can be changed."""
        for each in ("threshold", name) if name == "stranger_rate" else (name,):
            source, label = self._settings.source(each)
            if source != DEFAULT:
                return label
        return None
