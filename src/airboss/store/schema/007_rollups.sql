-- Sums of whole stretches of records (by `seq`), by the minute (`width` 60) and by the hour (3,600), so that
-- questions of many calls do not read each. A minute that two stretches share has a row of each. `latency` and
-- `ttft` are histograms of answered calls, in milliseconds: how many values lie nearest to 1.04 ^ bin.
-- Model and key are null where there were too many of them to be told apart.
create table rollups (
    width integer not null,
    start timestamp not null, -- UTC
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    model varchar,
    "key" varchar,
    status varchar not null,
    error_type varchar,
    requests bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12), -- null where no call had a known price
    priced bigint not null,
    rates double not null, -- the sum of tokens a second of `rated` calls
    rated bigint not null,
    latency map(smallint, uinteger),
    ttft map(smallint, uinteger)
);

-- Of records before this `seq` the sums are in.
create table rolled (seq bigint not null);
insert into rolled values (0);
