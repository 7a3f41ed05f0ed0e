"""The wire of ROS 2's usual middlewares: DDS, spoken by Cyclone DDS (extra `ros2`).

Types are matched by their names, as ROS's own middlewares did until Cyclone's began to announce
fields: those of other Cyclones and Fast DDSs are not looked at, and ours have the names that they
give theirs. The bytes are our own codec's: Cyclone only carries them, and throws away what is not
of the type.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.ros2.cdr import FieldType, fields_of
from ofp_edge.ros2.names import dds_topic, dds_type, ros_topic, ros_type, type_hash
from ofp_edge.runtime.ros2.wire import Heard

_BY_NAME = """<CycloneDDS><Domain Id="any"><Compatibility>
<IgnoreTypeInformation>1.15,1.16</IgnoreTypeInformation>
</Compatibility></Domain></CycloneDDS>"""
_LAST_DOMAIN = 232
_WAIT_NS = 100_000_000
_MANY = 1000
_CLOSE_S = 2.0
_POLICIES = {2: "durability", 11: "reliability", 23: "data representation"}

_open_lock = threading.Lock()
_open: dict[int, list[Any]] = {}  # by domain, which has one configuration: it, and by how many


def domain_id(given: int | None, error: type[OfpError]) -> int:
    """Return the rig's domain, else ROS_DOMAIN_ID's, else 0. Raises `error` for what is none."""
    said: Any = given
    if given is None:
        said = os.environ.get("ROS_DOMAIN_ID") or "0"
        said = int(said) if said.isdecimal() else said
    if isinstance(said, bool) or not isinstance(said, int) or not 0 <= said <= _LAST_DOMAIN:
        where = "ROS_DOMAIN_ID" if given is None else "domain"
        raise error(f"{where}: expected a whole number 0..{_LAST_DOMAIN}, got {said!r}.")
    return said


class Dds:
    """A participant of a domain; see Wire.

    config: Cyclone's XML or the URL of a file with it, by default CYCLONEDDS_URI's; one for all
    that a process opens in a domain.
    """

    def __init__(self, domain: int, config: str | None, error: type[OfpError]) -> None:
        self._cyclone = require("cyclonedds", "ros2")
        for name in ("builtin", "core", "domain", "pub", "qos", "sub", "topic", "util"):
            require(f"cyclonedds.{name}", "ros2")
        self._error, self.domain = error, domain
        given = os.environ.get("CYCLONEDDS_URI", "") if config is None else config
        c = self._cyclone
        try:
            _enter(c, domain, given, error)
        except c.core.DDSException as cause:
            raise error(f"DDS domain {domain}: {_line(cause)} Check config.") from None
        try:
            self._participant = c.domain.DomainParticipant(domain)
            self._news = c.core.WaitSet(self._participant)
            self._published = c.builtin.BuiltinDataReader(
                self._participant, c.builtin.BuiltinTopicDcpsPublication
            )
            self._subscribed = c.builtin.BuiltinDataReader(
                self._participant, c.builtin.BuiltinTopicDcpsSubscription
            )
        except c.core.DDSException as cause:
            _leave(domain)
            raise error(
                f"DDS domain {domain} can't be joined: {_line(cause)} Check the network interface "
                "and config (CYCLONEDDS_URI)."
            ) from None
        self._types: dict[type[Any], Any] = {}
        self._listening: list[tuple[Any, Any, int, Callable[[Heard], None]]] = []
        self._publishing: list[Any] = []
        self._closed = False
        self._thread = threading.Thread(target=self._listen, name=f"dds {domain}", daemon=True)
        self._thread.start()

    def subscribe(
        self, topic: str, kind: type[Any], heard: Callable[[Heard], None], *, reliable: bool,
        depth: int,
    ) -> Reader:  # fmt: skip
        """Listen; see Wire."""
        c = self._cyclone
        made = self._topic(topic, kind)
        reader = c.sub.DataReader(self._participant, made, self._qos(kind, reliable, depth))
        condition = c.core.ReadCondition(
            reader,
            c.core.SampleState.Any | c.core.ViewState.Any | c.core.InstanceState.Any,
        )
        self._listening.append((reader, condition, depth, heard))
        self._news.attach(condition)
        return Reader(self, topic, kind, reader)

    def publish(self, topic: str, kind: type[Any]) -> Writer:
        """Announce; see Wire."""
        made = self._topic(topic, kind)
        writer = self._cyclone.pub.DataWriter(self._participant, made, self._qos(kind, True, 1))
        self._publishing.append(writer)
        return Writer(self, topic, kind, writer)

    def topics(self) -> dict[str, str]:
        """Return what others publish; see Wire."""
        return self._named(self._published)

    def heeded(self) -> dict[str, str]:
        """Return what others listen to: ROS's topics and their types."""
        return self._named(self._subscribed)

    def _named(self, reader: Any) -> dict[str, str]:
        found = {}
        for end in self.ends(reader):
            if (name := ros_topic(end.topic_name)) is not None:
                found[name] = ros_type(end.type_name)
        return found

    def close(self) -> None:
        """Leave; see Wire."""
        if self._closed:
            return
        self._closed = True
        self._thread.join(_CLOSE_S)
        self._listening.clear()
        self._publishing.clear()
        del self._news, self._published, self._subscribed, self._participant
        _leave(self.domain)

    def ends(self, reader: Any) -> list[Any]:
        """Return the endpoints of others, as far as they are alive."""
        alive = self._cyclone.core.InstanceState.Alive
        own = str(self._participant.guid)
        return [
            end
            for end in reader.read(_MANY)
            if end.sample_info.instance_state == alive and str(end.participant_key) != own
        ]

    def other_types(self, topic: str, kind: type[Any], *, published: bool) -> list[str]:
        """Return the types, other than this one, under which others publish (or listen to) it."""
        reader = self._published if published else self._subscribed
        name, wanted = dds_topic(topic, self._error), dds_type(kind)
        ends = [end for end in self.ends(reader) if end.topic_name == name]
        return sorted({ros_type(end.type_name) for end in ends if end.type_name != wanted})

    def _topic(self, topic: str, kind: type[Any]) -> Any:
        name = dds_topic(topic, self._error)
        return self._cyclone.topic.Topic(self._participant, name, _idl(kind, self._types))

    def _qos(self, kind: type[Any], reliable: bool, depth: int) -> Any:
        policy, qos = self._cyclone.qos.Policy, self._cyclone.qos.Qos
        wait = self._cyclone.util.duration(milliseconds=0)
        return qos(
            policy.Reliability.Reliable(wait) if reliable else policy.Reliability.BestEffort,
            policy.Durability.Volatile,
            policy.History.KeepLast(depth),
            policy.DataRepresentation(use_cdrv0_representation=True),
            policy.Userdata(f"typehash={type_hash(kind)};".encode()),
        )

    def _listen(self) -> None:
        while not self._closed:
            self._news.wait(_WAIT_NS)
            arrival_ns = time.monotonic_ns()
            for reader, condition, depth, heard in list(self._listening):
                for sample in reader.take(depth, condition=condition):
                    if sample.sample_info.valid_data:
                        source = int(sample.sample_info.publication_handle)
                        heard(Heard(sample.raw, arrival_ns, source))


class Reader:
    """A subscription; see wire.py."""

    def __init__(self, dds: Dds, topic: str, kind: type[Any], reader: Any) -> None:
        self._dds, self._topic, self._kind, self._reader = dds, topic, kind, reader

    def publishers(self) -> int:
        """Return how many publish it."""
        return len(self._reader.get_matched_publications())

    def obstacles(self) -> str:
        """Return why nothing may come."""
        if others := self._dds.other_types(self._topic, self._kind, published=True):
            return f"its type is {', '.join(others)}, expected {self._kind.TYPE}"
        return _unfit(self._reader.get_requested_incompatible_qos_status())


class Writer:
    """A publication; see wire.py."""

    def __init__(self, dds: Dds, topic: str, kind: type[Any], writer: Any) -> None:
        self._dds, self._topic, self._kind, self._writer = dds, topic, kind, writer

    def publish(self, data: bytes) -> None:
        """Hand a message over."""
        try:
            self._writer.write(self._writer.data_type(data))
        except self._dds._cyclone.core.DDSException as cause:
            raise self._dds._error(f"{self._topic}: {_line(cause)}") from None

    def subscribers(self) -> int:
        """Return how many listen."""
        return len(self._writer.get_matched_subscriptions())

    def obstacles(self) -> str:
        """Return why nobody may listen."""
        if others := self._dds.other_types(self._topic, self._kind, published=False):
            return f"it is listened to as {', '.join(others)}, expected {self._kind.TYPE}"
        return _unfit(self._writer.get_offered_incompatible_qos_status())

    def confirmed(self, timeout_s: float) -> bool:
        """Wait for the listeners' acknowledgement."""
        return bool(self._writer.wait_for_acks(round(timeout_s * 1e9)))


def _enter(cyclone: Any, domain: int, config: str, error: type[OfpError]) -> None:
    """Configure a domain, the same for all who use it in this process."""
    with _open_lock:
        if domain not in _open:
            made = cyclone.domain.Domain(domain, ",".join(x for x in (_BY_NAME, config) if x))
            _open[domain] = [config, made, 0]
        elif _open[domain][0] != config:
            raise error(f"DDS domain {domain}: two different config in one process.")
        _open[domain][2] += 1


def _leave(domain: int) -> None:
    with _open_lock:
        _open[domain][2] -= 1
        if not _open[domain][2]:
            del _open[domain]


def _idl(kind: type[Any], made: dict[type[Any], Any]) -> Any:
    """A class by which Cyclone knows the type and carries its bytes as they are."""
    if kind in made:
        return made[kind]
    idl = require("cyclonedds.idl", "ros2")
    types = require("cyclonedds.idl.types", "ros2")

    def of(field: FieldType) -> Any:
        base: Any
        if not isinstance(field.base, str):
            base = _idl(field.base, made)
        elif field.base == "string":
            base = str
        else:
            base = bool if field.base == "bool" else getattr(types, field.base)
        if field.count is None:
            return base
        return types.sequence[base] if field.count < 0 else types.array[base, field.count]

    name = dds_type(kind)
    fields = {field.name: of(field) for field in fields_of(kind)}
    found = idl.make_idl_struct(name.split("::")[-1], name.replace("::", "."), fields)

    def hold(self: Any, raw: bytes) -> None:
        self.raw = raw

    found.__init__ = hold
    found.serialize = lambda self, *_, **__: self.raw
    found.deserialize = found.deserialize_key = classmethod(lambda cls, raw, *_, **__: cls(raw))
    made[kind] = found
    return found


def _unfit(status: Any) -> str:
    if not status.total_count:
        return ""
    policy = _POLICIES.get(status.last_policy_id, f"policy {status.last_policy_id}")
    return f"its quality of service does not fit ours ({policy})"


def _line(cause: Exception) -> str:
    return " ".join(str(cause).split())
