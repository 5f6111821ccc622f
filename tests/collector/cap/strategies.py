"""Any alert that the standard allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

from hypothesis import strategies as st

from village_collector.cap.alert import (
    Alert,
    Category,
    Certainty,
    Info,
    MessageType,
    Pair,
    Place,
    Reference,
    Resource,
    ResponseType,
    Scope,
    Severity,
    Status,
    Urgency,
)

_CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\ufffe\uffff")
texts = st.text(_CHARACTERS, max_size=30).map(str.strip)
names = texts.filter(bool)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=',<&"'), min_size=1, max_size=12)
items = st.lists(words | st.tuples(words, words).map(" ".join), max_size=3).map(tuple)
offsets = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))
times = st.datetimes(datetime(1990, 1, 2), datetime(2100, 1, 1), timezones=offsets).map(  # noqa: DTZ001 - the offset is added
    lambda time: time.replace(microsecond=0)
)
pairs = st.lists(st.builds(Pair, names, texts), max_size=3).map(tuple)
codes = st.from_regex(r"[1-8][0-9]{5}([0-9]{3}([0-9]{3})?)?", fullmatch=True) | texts
places = st.builds(
    Place,
    description=names,
    geocodes=st.lists(st.builds(Pair, names, codes), max_size=4).map(tuple),
    polygons=st.lists(names, max_size=2).map(tuple),
    circles=st.lists(names, max_size=2).map(tuple),
    altitude=texts,
    ceiling=texts,
)
resources = st.builds(
    Resource,
    description=names,
    mime_type=names,
    size=st.none() | st.integers(0, 10**12),
    uri=texts,
    deref_uri=texts,
    digest=texts,
)

infos = st.builds(
    Info,
    event=names,
    urgency=st.sampled_from(get_args(Urgency)),
    severity=st.sampled_from(get_args(Severity)),
    certainty=st.sampled_from(get_args(Certainty)),
    categories=st.lists(st.sampled_from(get_args(Category)), max_size=3).map(tuple),
    language=st.sampled_from(["zh-CN", "zh-HK", "en-US", "en", "ug-CN"]),
    response_types=st.lists(st.sampled_from(get_args(ResponseType)), max_size=3).map(tuple),
    audience=texts,
    event_codes=pairs,
    effective=st.none() | times,
    onset=st.none() | times,
    expires=st.none() | times,
    sender_name=texts,
    headline=texts,
    description=texts,
    instruction=texts,
    web=texts,
    contact=texts,
    parameters=pairs,
    resources=st.lists(resources, max_size=2).map(tuple),
    places=st.lists(places, max_size=3).map(tuple),
)
references = st.builds(Reference, words, words, times.map(lambda time: time.astimezone(UTC)))
alerts = st.builds(
    Alert,
    identifier=words,
    sender=words,
    sent=times,
    status=st.sampled_from(get_args(Status)),
    message_type=st.sampled_from(get_args(MessageType)),
    scope=st.sampled_from(get_args(Scope)),
    source=texts,
    restriction=texts,
    addresses=items,
    codes=st.lists(names, max_size=2).map(tuple),
    note=texts,
    references=st.lists(references, min_size=1, max_size=3).map(tuple),
    incidents=items,
    infos=st.lists(infos, max_size=3).map(tuple),
)
