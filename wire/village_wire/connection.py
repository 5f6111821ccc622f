"""One MQTT 5 connection. The only module that imports `aiomqtt`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from village_wire.address import CertificateRefused, NotAuthorised, SessionError, SessionSettings, Subscription
from village_wire.incoming import MAX_PACKET_BYTES, Inbox, PacketSocket, Received
from village_wire.outgoing import Publication, encode_publication
from village_wire.tls import connection_context, refused_certificate
from village_wire.traffic import Traffic

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Answers of the broker take less than this on any working link; a longer wait means that the link is gone.
ANSWER_SECONDS = 15.0
#: MQTT 5, section 3.4.2.1: no matching subscribers.
_NO_SUBSCRIBERS = 16
#: MQTT 5, section 3.2.2.2: bad user name or password, not authorized, banned.
_NOT_AUTHORISED = frozenset({134, 135, 138})


class Connection:
    """One live connection; made by `connect`."""

    def __init__(self, client: _Client, inbox: Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._problem = "the socket is closed"
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe to all; raises `SessionError` if the broker refuses one."""
        wanted = [
            (s.topic_filter, SubscribeOptions(qos=s.qos, retainHandling=0 if s.retained else 2)) for s in subscriptions
        ]
        codes = await self._answer(self._client.subscribe(wanted))
        for subscription, code in zip(subscriptions, cast("list[ReasonCode]", codes), strict=True):
            if code.value >= 128:
                raise SessionError(f"the broker refuses the subscription to {subscription.topic_filter}: {code}")

    async def publish(self, message: Publication) -> bool:
        """Send a message and wait for the broker's answer (QoS 1); raises `SessionError`, also where the broker refuses it.

        False if the broker says that nobody subscribes to the topic; not every broker does.
        """
        properties = (
            _publish_properties(message)
            if message.expiry is not None or message.content_type or message.response_topic
            else None
        )
        call = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if message.qos == 0:
            try:
                await call
            except aiomqtt.MqttError as error:
                raise SessionError(str(error)) from None
        else:
            try:
                await self._answer(call)
            except _NobodyListens:
                return False
        return True

    async def send(self, messages: Sequence[Publication]) -> None:
        """Send all at QoS 0, and wait until the system's socket has taken them; raises `SessionError`.

        For messages whose loss is no harm: it costs a twentieth of `publish`.
        """
        if self._client.open:
            self._client.write(b"".join(map(encode_publication, messages)))
            await self._client.written.wait()
        # A socket that is closed wakes us too, and before `watch` learns of it.
        if self._lost.done() or not self._client.open:
            raise self._ended()

    async def messages(self) -> AsyncIterator[Received]:
        """Messages as they come; raises `SessionError` when the connection ends."""
        while True:
            while (message := self._inbox.pop()) is not None:
                yield message
            if self._lost.done():
                raise self._ended()
            await self._inbox.changed.wait()
            self._inbox.changed.clear()

    async def deliver(self, on_message: Callable[[Received], None]) -> None:
        """Give each message to `on_message`, which must neither block nor raise; raises `SessionError` when the connection ends."""
        self._inbox.give_to(on_message)
        await asyncio.wait([self._lost])
        raise self._ended()

    async def watch(self) -> None:
        """Wait for the end of the connection and tell all who wait for an answer or a message: there will be none."""
        try:
            # Messages never come this way, see `_Client`.
            await anext(self._client.messages)
        except aiomqtt.MqttError as error:
            self._problem = str(error.__cause__ or error)
        finally:
            self.close_waits()

    def close_waits(self) -> None:
        """Wake all who wait."""
        if not self._lost.done():
            self._lost.set_result(None)
        self._inbox.changed.set()
        self._client.written.set()

    def _ended(self) -> SessionError:
        return SessionError(f"the connection ended: {self._problem}")

    async def _answer(self, call: Awaitable[_T]) -> _T:
        # aiomqtt wakes nobody who waits for an answer when the connection ends.
        task: asyncio.Future[_T] = asyncio.ensure_future(call)
        try:
            waits: list[asyncio.Future[Any]] = [task, self._lost]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise SessionError("the connection ended before the broker answered")
            return task.result()
        except _NobodyListens:
            raise
        except aiomqtt.MqttError as error:
            raise SessionError(str(error)) from None
        finally:
            task.cancel()


class _NobodyListens(aiomqtt.MqttError):
    """The broker took a message for which it knows no subscriber."""


class _Client(aiomqtt.Client):
    """Messages go from the socket to an inbox, and whole packets can be written; everything else is aiomqtt's and paho's."""

    def __init__(self, inbox: Inbox, traffic: Traffic | None, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._inbox = inbox
        self._traffic = traffic
        #: What TLS said when it ended the connection; paho keeps it to itself.
        self.tls_problem = ""
        #: Messages that the broker refused, by packet number.
        self._denied: dict[int, str] = {}
        #: Packet numbers of messages without a subscriber.
        self._unheard: set[int] = set()
        #: Set while nothing waits to be written.
        self.written = asyncio.Event()
        # Then `ack` is ours to call.
        self._client.manual_ack_set(True)

    def _on_publish(
        self, client: Client, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if reason_code.value >= 128:
            self._denied[mid] = str(reason_code)
        elif reason_code.value == _NO_SUBSCRIBERS:
            self._unheard.add(mid)
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def _on_disconnect(self, client: Client, userdata: Any, *arguments: Any) -> None:
        # aiomqtt would wait on for the answer of a broker that has closed the connection.
        self._give_up("the broker ended the connection before it answered")
        super()._on_disconnect(client, userdata, *arguments)

    def _give_up(self, problem: str) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(problem))
            # Whoever waits has it; where nobody does any more, asyncio need not complain.
            self._connected.exception()

    @contextmanager
    def _pending_call(self, mid: int, value: Any, pending_dict: dict[int, Any]) -> Iterator[None]:
        with super()._pending_call(mid, value, pending_dict):
            yield
        # aiomqtt takes every answer of the broker for a yes.
        if pending_dict is self._pending_publishes and (reason := self._denied.pop(mid, "")):
            raise aiomqtt.MqttError(f"the broker refuses a message: {reason}")
        if pending_dict is self._pending_publishes and mid in self._unheard:
            self._unheard.discard(mid)
            raise _NobodyListens("nobody subscribes to it")

    @property
    def open(self) -> bool:
        """Whether there is a socket."""
        return self._client.socket() is not None

    def write(self, packets: bytes) -> None:
        """Queue packets behind those of paho."""
        self.written.clear()
        # paho writes what it is given as it is; it looks at the packet type only to report messages and the end of the connection.
        self._client._packet_queue(MessageType.PINGREQ, packets, 0, 0)  # noqa: SLF001

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        def wrote(now: float) -> None:
            # paho 2.2 notes this only for half-written packets, and would probe a link that was used a moment ago.
            client._last_msg_out = now  # noqa: SLF001

        def failed(error: ssl.SSLError) -> None:
            self.tls_problem = str(error)
            self._give_up(str(error))

        reader = PacketSocket(sock, self._inbox.put, partial(client.ack, qos=1), self._traffic, wrote, failed)
        # paho has no setter; it hands the socket to this callback before it first uses it.
        client._sock = reader  # noqa: SLF001
        super()._on_socket_open(client, userdata, reader)

    def _on_socket_unregister_write(self, client: Client, userdata: Any, sock: Any) -> None:
        super()._on_socket_unregister_write(client, userdata, sock)
        self.written.set()


@asynccontextmanager
async def connect(settings: SessionSettings, traffic: Traffic | None = None) -> AsyncIterator[Connection]:
    """Open one connection; `traffic` counts its bytes.

    Raises:
        NotAuthorised: the broker refuses the credentials.
        SessionError: the broker can't be reached or refuses for another reason.
    """
    inbox = Inbox()
    address = settings.address
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = settings.expiry
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    client = _Client(
        inbox,
        traffic,
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        logger=logging.getLogger(f"{__name__}.mqtt"),
        identifier=settings.client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        will=_will(settings.will() if callable(settings.will) else settings.will),
        timeout=ANSWER_SECONDS,
        keepalive=settings.keep_alive,
        clean_start=settings.expiry == 0,
        properties=properties,
        tls_context=await asyncio.to_thread(connection_context, settings) if address.secure else None,
    )
    client.pending_calls_threshold = 1000
    entered = False
    try:
        await client.__aenter__()
        entered = True
    except MqttConnectError as error:
        if isinstance(error.rc, ReasonCode) and error.rc.value in _NOT_AUTHORISED:
            raise NotAuthorised(f"{address.url} refuses the credentials: {error.rc}") from None
        raise SessionError(f"{address.url} refuses the connection: {error}") from None
    except aiomqtt.MqttError as error:
        refusal = refused_certificate(f"{client.tls_problem} {error}")
        if refusal:
            raise CertificateRefused(f"{address.url} refuses this program's certificate: {refusal}") from None
        raise SessionError(f"{address.url}: {error}") from None
    finally:
        if not entered:
            # aiomqtt leaves the socket and a task behind when a broker accepts the connection and never answers.
            client._client.disconnect()  # noqa: SLF001
    connection = Connection(client, inbox)
    watching = asyncio.create_task(connection.watch(), name=f"link to {address.host}")
    try:
        yield connection
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        try:
            await client.__aexit__(None, None, None)
        except aiomqtt.MqttError as error:
            _log.debug("disconnecting from %s: %s", address.url, error)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


def _publish_properties(message: Publication) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    if message.expiry is not None:
        properties.MessageExpiryInterval = message.expiry
    if message.content_type:
        properties.ContentType = message.content_type
    if message.response_topic:
        properties.ResponseTopic = message.response_topic
    if message.correlation:
        properties.CorrelationData = message.correlation
    return properties


def _will(message: Publication | None) -> aiomqtt.Will | None:
    if message is None:
        return None
    properties = _properties(PacketTypes.WILLMESSAGE)
    if message.content_type:
        properties.ContentType = message.content_type
    return aiomqtt.Will(message.topic, message.payload, message.qos, message.retain, properties)
