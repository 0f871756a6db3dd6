-- Sums by person hold how long their answered calls took, one by one, and those of sessions every number too: rows of
-- people are told, and the slowest of them chosen, without a look at records. They are put in by person, so that what is
-- added up lies together. All of them are made anew, of the records that are there.
drop table user_sums;
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
    cancelled bigint not null,
    refused bigint not null,
    answered bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12), -- null where no call had a known price
    cost_unknown bigint not null,
    priced bigint not null, -- answered calls with a known price
    started bigint not null, -- answered calls with a first token
    rates double not null, -- the sum of tokens a second of `rated` calls
    rated bigint not null,
    first_at timestamp not null,
    last_at timestamp not null,
    latencies double[], -- milliseconds, the slowest first
    ttfts double[]
);

drop table session_sums;
create table session_sums (
    start timestamp not null,
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    model varchar not null,
    provider varchar not null,
    "key" varchar not null,
    operation varchar not null,
    session varchar,
    "user" varchar,
    requests bigint not null,
    errors bigint not null,
    cancelled bigint not null,
    refused bigint not null,
    answered bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12),
    cost_unknown bigint not null,
    priced bigint not null,
    started bigint not null,
    rates double not null,
    rated bigint not null,
    first_at timestamp not null,
    last_at timestamp not null,
    latencies double[],
    ttfts double[]
);

update summed_people set seq = 0 where name in ('user_sums', 'session_sums');
