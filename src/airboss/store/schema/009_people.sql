-- Sums of long stretches of records by the day and the person: what rows of people are chosen by before their
-- calls are read, and who there was. `start` is a day's midnight, UTC. An erasure makes them anonymous as well.
create table user_sums (
    start timestamp not null,
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    model varchar not null,
    provider varchar not null,
    "key" varchar not null,
    operation varchar not null,
    "user" varchar,
    requests bigint not null,
    errors bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12), -- null where no call had a known price
    last_at timestamp not null
);

create table session_sums (
    start timestamp not null,
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    model varchar not null,
    provider varchar not null,
    session varchar,
    "user" varchar,
    requests bigint not null,
    errors bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12),
    last_at timestamp not null
);

-- Of records before this `seq` the sums are in; those of days before `since` have been deleted with their records.
create table summed_people (
    name varchar not null, -- the table's
    seq bigint not null,
    since timestamp
);
insert into summed_people values ('user_sums', 0, null), ('session_sums', 0, null);
