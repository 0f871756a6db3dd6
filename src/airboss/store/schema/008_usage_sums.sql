-- Sums tell usage too: by provider, operation and how answers ended, with histograms of what answers cost and
-- the first and the last call of each. All of them are made anew, of the records that are there.
drop table rollups;
create table rollups (
    width integer not null,
    start timestamp not null, -- UTC
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    model varchar, -- null, as the key is, where there were too many of them to be told apart
    provider varchar not null,
    "key" varchar,
    operation varchar not null,
    status varchar not null,
    error_type varchar,
    finish_reason varchar,
    requests bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12), -- null where no call had a known price
    priced bigint not null,
    rates double not null, -- the sum of tokens a second of `rated` calls
    rated bigint not null,
    started bigint not null, -- answered calls with a first token
    first_at timestamp not null,
    last_at timestamp not null,
    latency map(smallint, uinteger), -- histograms of answered calls, as in 007; costs in millionths of a dollar
    ttft map(smallint, uinteger),
    cost map(smallint, uinteger)
);
update rolled set seq = 0;
