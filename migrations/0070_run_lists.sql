-- What lists of runs sort and filter by, with an index for each, at no cost to the points that stream in.

-- Every batch of metrics writes its run's row anew. While no index has a column that this changes, the new version
-- stays on the old one's page and no index hears of it. So the time of change, which an index needs, stands in a
-- column of its own that metrics move every two seconds at most; `updated_at` is exact and has no index.
alter table runs set (fillfactor = 80);
alter table runs add column touched_at timestamptz not null default now();
update runs set touched_at = updated_at;
drop index runs_by_change;
create index runs_by_creation on runs (created_at);
create index runs_by_touch on runs (touched_at, id);
create index runs_by_priority on runs (priority, id);
create index runs_by_finish on runs (finished_at, id) where finished_at is not null;
create index runs_unfinished on runs (id) where finished_at is null;
alter table runs add column duration_seconds double precision
    generated always as (extract(epoch from finished_at - started_at)) stored;
create index runs_by_duration on runs (duration_seconds, id) where duration_seconds is not null;

-- The newest and the least value of each series, as of some seconds ago while points stream in; what is not a number
-- has no place in an order and is left out. Where they are not noted yet, the coordinator reads them from the points.
alter table series add column newest double precision;
alter table series add column least double precision;
alter table series add column noted boolean not null default true;
update series set noted = false where points > 0;
insert into series (run_id, name, noted) select run_id, unnest(names), false from journals
on conflict on constraint series_name_once do update set noted = false;
create index series_by_newest on series (name, newest, run_id) where newest is not null;
create index series_by_least on series (name, least, run_id) where least is not null;
create index series_unnoted on series (run_id) where not noted;

-- The same of the points that are in the journal.
alter table journals add column newest double precision[] not null default '{}';
alter table journals add column least double precision[] not null default '{}';
alter table journals add column noted_at timestamptz not null default '-infinity';

-- What specs are compared by.
alter table experiments add column network_kind text generated always as (spec::jsonb #>> '{network,kind}') stored;
alter table experiments add column hidden integer
    generated always as ((spec::jsonb #>> '{network,hidden}')::integer) stored;
alter table experiments add column activation text generated always as (spec::jsonb #>> '{network,activation}') stored;
alter table experiments add column batches bigint
    generated always as ((spec::jsonb #>> '{training,batches}')::bigint) stored;
alter table experiments add column batch_size integer
    generated always as ((spec::jsonb #>> '{training,batch_size}')::integer) stored;
alter table experiments add column learning_rate double precision
    generated always as ((spec::jsonb #>> '{training,learning_rate}')::double precision) stored;
create index experiments_by_name on experiments (name, id);
create index experiments_by_preset on experiments (preset);
create index experiments_by_hidden on experiments (hidden);
create index experiments_by_seed on experiments (seed);
create index attempts_by_worker on attempts (worker_id, run_id);

-- Text within names and presets. A Postgres without the extension, which comes with its contributed modules, looks
-- through all of them instead.
do $$
begin
    create extension if not exists pg_trgm;
    create index experiments_by_text on experiments using gin ((name || ' ' || coalesce(preset, '')) gin_trgm_ops);
exception when undefined_file or insufficient_privilege or feature_not_supported or undefined_object then
    raise notice 'without pg_trgm, runs are searched by text without an index';
end
$$;
