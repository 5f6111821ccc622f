"""The driver of devices that announce themselves on an MQTT broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from village_drivers.kit import (
    BrokerPort,
    BrokerSettings,
    Device,
    DriverConfig,
    DriverError,
    Misconfigured,
    NotConnected,
    Report,
    Services,
)
from village_drivers.mqtt.config import MqttConfig
from village_drivers.mqtt.entities import Entity
from village_drivers.mqtt.locks import OpenLocks
from village_drivers.mqtt.loudspeakers import Loudspeakers
from village_drivers.mqtt.site import GRACE_SECONDS, Changes, Site

_log = logging.getLogger(__name__)

#: A sleepy Zigbee lock answers within three seconds.
CONFIRM_SECONDS = 5.0
#: A lock that did not confirm that it is secured is told again after this time.
RETRY_SECONDS = 5.0
#: How often silence is looked for.
TICK_SECONDS = 5.0
#: How long open locks may hold up the driver's end.
SECURE_SECONDS = 2.0
_MAX_PASSWORD = 4096


class MqttSwitch:
    """The `Switch` ability of a switch, light or siren."""

    def __init__(self, driver: MqttDevices, name: str, entity: Entity) -> None:
        self._driver = driver
        self._name = name
        self._entity = entity

    async def switch(self, on: bool) -> None:
        """As `abilities.Switch.switch`; a device without a state topic confirms nothing, then the broker's answer counts."""
        await self._driver.set(self._name, self._entity, on)


class MqttLock:
    """The `Door` ability of a lock."""

    def __init__(self, driver: MqttDevices, name: str, entity: Entity) -> None:
        self._driver = driver
        self._name = name
        self._entity = entity

    async def unlock(self, seconds: float) -> None:
        """As `abilities.Door.unlock`; a second call while the lock is open prolongs it."""
        await self._driver.unlock(self._name, self._entity, seconds)


class MqttDevices:
    """All devices that announce themselves on one broker. They come and go while the driver runs."""

    Config: ClassVar[type[DriverConfig]] = MqttConfig
    #: Devices may come that are not there yet, beside those of the configuration.
    discovers: ClassVar[bool] = True

    def __init__(self, config: MqttConfig, services: Services) -> None:
        self._config = config
        self._services = services
        self._lost = NotConnected("starting", "not connected to the broker yet")
        self._loudspeakers = Loudspeakers(config.loudspeakers, config.speaks, self._lost)
        self._site = Site(
            config.discovery_prefix, config.include, config.max_devices, self._hear_state, self._loudspeakers.why_silent
        )
        self._devices: dict[str, Device] = {}
        self._locks = OpenLocks(services.state_dir / f"{config.id}.json")
        self._waiting: dict[str, list[tuple[bool, asyncio.Future[None]]]] = {}
        self._port: BrokerPort | None = None
        self._group: asyncio.TaskGroup | None = None
        self._report: Report | None = None
        self._relocking: set[str] = set()

    def devices(self) -> Mapping[str, Device]:
        """As `kit.Driver.devices`: loudspeakers of the configuration, and those that announced themselves and match `include`."""
        # A device reports as soon as it is known, before `devices_changed` has been told.
        if self._devices.keys() != self._site.units.keys():
            self._devices = {name: self._device(name) for name in self._site.units}
        return {**self._devices, **self._loudspeakers.devices()}

    async def run(self, report: Report) -> None:
        """As `kit.Driver.run`."""
        config = self._config
        try:
            settings = BrokerSettings(config.broker, config.username, await self._password())
            async with self._services.connect_broker(settings) as port:
                await self._serve(port, report)
        except DriverError as error:
            self._lost = NotConnected(error.code, str(error))
            self._loudspeakers.lost(self._lost)
            raise

    async def set(self, name: str, entity: Entity, on: bool) -> None:
        """Send a command and wait until the device says that it obeyed. Raises as `abilities.Switch`."""
        port = self._port
        if port is None:
            raise NotConnected(self._lost.code, str(self._lost))
        if self._site.conditions.online(entity) is False:
            raise NotConnected("device_offline", f"{name} reports itself offline")
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wait = (on, confirmed)
        self._waiting.setdefault(entity.key, []).append(wait)
        try:
            # Never retained: the broker would repeat it to the device after every reconnection.
            await port.publish(entity.command_topic, (entity.command_on if on else entity.command_off).encode())
            if entity.state_topic:
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await confirmed
        except TimeoutError:
            # ESPHome repeats no state that it has published before.
            if self._site.readings.states.get(entity.key) is on and self._site.conditions.online(entity):
                return
            raise NotConnected("no_answer", f"{name} did not confirm within {CONFIRM_SECONDS:g} s") from None
        finally:
            self._waiting[entity.key].remove(wait)
            if not self._waiting[entity.key]:
                del self._waiting[entity.key]

    async def unlock(self, name: str, entity: Entity, seconds: float) -> None:
        """Release a lock, and secure it after `seconds` whether or not this call succeeds. Raises as `abilities.Door`."""
        if self._port is None:
            raise NotConnected(self._lost.code, str(self._lost))
        await self._locks.open(entity.key, asyncio.get_running_loop().time() + seconds)
        self._relock_later(entity.key)
        await self.set(name, entity, True)

    async def _serve(self, port: BrokerPort, report: Report) -> None:
        clock = asyncio.get_running_loop().time
        await self._locks.load(clock())
        self._site.connected(clock())
        lost: BaseException = NotConnected("broker_lost", f"{self._config.broker}: the connection ended")
        try:
            prefix = self._config.discovery_prefix
            await port.subscribe(f"{prefix}/+/+/config")
            await port.subscribe(f"{prefix}/+/+/+/config")
            for topic in self._loudspeakers.topics:
                await port.subscribe(topic)
            # Home Assistant's birth message: devices that keep no announcement at the broker repeat it now.
            await port.publish(f"{prefix}/status", b"online")
            async with asyncio.TaskGroup() as group:
                self._port, self._group, self._report = port, group, report
                self._loudspeakers.connected(port, report)
                group.create_task(self._loudspeakers.run(port), name=f"{self._config.id} posts")
                for key in self._locks.open_now():
                    self._relock_later(key)
                group.create_task(self._tick(report), name=f"{self._config.id} tick")
                async for message in port.messages():
                    changes = self._site.receive(message, clock(), report)
                    self._loudspeakers.hear(message)
                    await self._apply(changes, port, report)
                raise lost
        except* DriverError as errors:
            lost = errors.exceptions[0]
            while isinstance(lost, BaseExceptionGroup):
                lost = lost.exceptions[0]
        finally:
            self._port = self._group = None
            self._relocking.clear()
            self._fail_waiting()
            await self._secure_all(port)
            await self._loudspeakers.hush(port)
            self._loudspeakers.lost(NotConnected("broker_lost", "the connection to the broker ended"))
        raise lost from None

    async def _apply(self, changes: Changes, port: BrokerPort, report: Report) -> None:
        for topic in changes.subscribe:
            await port.subscribe(topic)
        if changes.devices_changed:
            self._devices = {name: self._device(name) for name in self._site.units}
            self._loudspeakers.keep({unit.actuator.key for unit in self._site.units.values() if unit.actuator})
            report.devices_changed()

    def _device(self, name: str) -> Device:
        unit = self._site.units[name]
        handle: object = None
        actuator = unit.actuator
        if actuator is not None and actuator.role == "speaker":
            handle = self._loudspeakers.of_entity(name, actuator, lambda: self._site.conditions.online(actuator))
        elif actuator is not None:
            handle = (MqttLock if unit.kind == "lock" else MqttSwitch)(self, name, actuator)
        return Device(unit.kind, handle, unit.name, unit.firmware)

    async def _tick(self, report: Report) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            changes = self._site.tick(asyncio.get_running_loop().time(), report)
            self._loudspeakers.tick()
            if self._port is not None:
                await self._apply(changes, self._port, report)
            if not self.devices():
                evidence = f"{self._config.broker} answers, and no device has announced itself"
                report.state(self._config.id, "degraded", "not_announced", evidence)

    def _relock_later(self, key: str) -> None:
        if self._group is not None and key not in self._relocking:
            self._relocking.add(key)
            self._group.create_task(self._relock(key), name=f"{self._config.id} secure {key}")

    async def _relock(self, key: str) -> None:
        """Secure a lock when its time is over, however often that must be tried."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + 2 * GRACE_SECONDS
        while key in self._locks:
            now = clock()
            if self._locks.until(key) > now:
                await asyncio.sleep(self._locks.until(key) - now)
                continue
            found = next(
                ((name, unit) for name, unit in self._site.units.items() if unit.actuator and unit.actuator.key == key),
                None,
            )
            if found is None:
                if now > give_up:
                    _log.warning("the lock announced at %s was left open and is not announced any more", key)
                    await self._locks.secured(key)
                await asyncio.sleep(min(RETRY_SECONDS, 0.2))
                continue
            name, unit = found
            try:
                await self.set(name, unit.main, False)
            except DriverError as error:
                self._trouble(name, f"the lock can't be secured: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._trouble(name, "")
                if self._locks.until(key) <= clock():
                    await self._locks.secured(key)
        self._relocking.discard(key)

    def _trouble(self, name: str, text: str) -> None:
        conditions = self._site.conditions
        if text:
            conditions.troubles[name] = text
        else:
            conditions.troubles.pop(name, None)
        if self._report is not None and name in self._site.units:
            conditions.tell(name, self._site.units[name], asyncio.get_running_loop().time(), self._report)

    async def _secure_all(self, port: BrokerPort) -> None:
        """Tell open locks to secure before the connection is given up; the next `run` sees to it that they did."""
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(SECURE_SECONDS):
                for unit in self._site.units.values():
                    if unit.actuator is not None and unit.actuator.key in self._locks:
                        await port.publish(unit.actuator.command_topic, unit.actuator.command_off.encode())

    def _hear_state(self, key: str, on: bool) -> None:
        for wanted, confirmed in self._waiting.get(key, ()):
            if wanted is on and not confirmed.done():
                confirmed.set_result(None)

    def _fail_waiting(self) -> None:
        for waits in self._waiting.values():
            for _, confirmed in waits:
                if not confirmed.done():
                    confirmed.set_exception(NotConnected("broker_lost", "the connection to the broker ended"))

    async def _password(self) -> str:
        if self._config.password is not None:
            return self._config.password.get_secret_value()
        path = self._config.password_file
        return "" if path is None else await asyncio.to_thread(_read_password, path)


def _read_password(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PASSWORD).decode().strip()
    except PermissionError:
        raise Misconfigured("no_permission", f"{path}: permission denied") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("misconfigured", f"{path}: {error}") from None
