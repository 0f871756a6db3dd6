-- Which words stand in which 1,024 bodies: text is looked for where they may be. Made of parts that come from now
-- on, and of older ones when they are next merged.
alter table bodies{cluster} add index if not exists by_word {words} type bloom_filter(0.01) granularity 1;
