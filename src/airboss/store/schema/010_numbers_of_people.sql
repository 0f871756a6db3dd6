-- Sums of users hold every number that rows of usage show, so that of the rows' calls only quantiles are read. Those of
-- sessions are told apart by key and operation too, and know how many calls were answered. All of them are made anew,
-- of the records that are there.
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
    last_at timestamp not null
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
    answered bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12),
    last_at timestamp not null
);

update summed_people set seq = 0;
