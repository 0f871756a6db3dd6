-- Spans of traces: those that apps send, and one for each call of the gateway that came with a trace. Never
-- changed, but that erasing and expiring take their texts. No index, as `records`: ids are UUIDs version 7 of a
-- span's start, and a trace's id is a number to compare.
create table spans (
    id varchar not null,
    trace_id uuid not null,
    span_id varchar not null, -- 16 hex digits
    parent_id varchar,
    gateway boolean not null, -- a call of the gateway, whose record has the same id
    name varchar not null,
    kind varchar not null,
    service varchar not null,
    started_at timestamp not null, -- UTC
    duration_ms double not null,
    status varchar not null,
    message varchar,
    "key" varchar not null,
    "user" varchar,
    session varchar,
    sampled boolean not null,
    attributes varchar using compression zstd, -- JSON
    events varchar using compression zstd -- JSON
);

-- Model calls that spans tell of, until it is known whether they are calls of their own. In parts, as `bodies`.
create table waiting_calls (
    id varchar not null, -- the span's
    trace_id uuid not null,
    moved_at timestamp not null, -- UTC
    part integer not null,
    record varchar not null -- JSON of the record that it becomes
);
