-- Curves in packed chunks under a pyramid, with a journal for what is new.
--
-- A batch of metrics adds one row to the journal of its run, with the points of all its series. From time to time
-- the journal is settled: its points go into chunks, of which only the last of a series is ever written anew.
create table journals (
    run_id uuid primary key references runs (id) on delete cascade,
    -- Every series of the run and its newest step. Batches refer to a series by its place here, from 0.
    names text[] not null,
    last_steps bigint[] not null,
    batches integer not null,
    bytes bigint not null,
    constraint journals_columns_fit check (cardinality(names) = cardinality(last_steps))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create table journal_batches (
    run_id uuid not null references journals (run_id) on delete cascade,
    number integer not null,
    -- Over all series of the batch.
    first_step bigint not null,
    last_step bigint not null,
    -- For each series: place (2 bytes), length (4 bytes), points as in a chunk.
    data bytea not null,
    constraint journal_batches_pkey primary key (run_id, number)
) with (
    toast_tuple_target = 8160,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 2000
);

-- The chunks of before become journals, in a form that is still read; the coordinator settles them when it starts.
with chunks as (
    select s.run_id, c.first_step, c.last_step,
           row_number() over (partition by s.run_id order by c.first_step, s.id) as number,
           (dense_rank() over (partition by s.run_id order by s.id) - 1)::smallint as place,
           '\x00'::bytea || int8send(c.first_step) || int4send(c.points) || int4send(octet_length(c.steps))
               || c.steps || c."values" as points
    from series s join series_chunks c on c.series_id = s.id
), made as (
    insert into journals (run_id, names, last_steps, batches, bytes)
    select s.run_id, array_agg(s.name order by s.id), array_agg(s.last_step order by s.id),
           (select count(*) from chunks where chunks.run_id = s.run_id),
           (select sum(octet_length(points) + 6) from chunks where chunks.run_id = s.run_id)
    from series s where s.points > 0 group by s.run_id
    returning run_id
)
insert into journal_batches (run_id, number, first_step, last_step, data)
select run_id, number, first_step, last_step, int2send(place) || int4send(octet_length(points)) || points
from made join chunks using (run_id);

drop table series_chunks;
delete from series;

create table series_chunks (
    series_id bigint not null references series (id) on delete cascade,
    -- From 0 without gaps, in the order of the steps.
    number bigint not null,
    first_step bigint not null,
    last_step bigint not null,
    points integer not null,
    data bytea not null,
    constraint series_chunks_pkey primary key (series_id, first_step),
    constraint series_chunks_steps_rise check (last_step >= first_step)
);

-- The pyramid: a row of level 0 sums up a complete chunk, a row of the next level eight rows of the one below.
create table series_summaries (
    series_id bigint not null references series (id) on delete cascade,
    level smallint not null,
    number bigint not null,
    first_step bigint not null,
    last_step bigint not null,
    data bytea not null,
    constraint series_summaries_pkey primary key (series_id, level, first_step),
    constraint series_summaries_number_once unique (series_id, level, number)
);

-- All of it is packed already: do not try again on every write.
alter table journal_batches alter column data set storage external;
alter table series_chunks alter column data set storage external;
alter table series_summaries alter column data set storage external;
