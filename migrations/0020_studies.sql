-- Experiments that were submitted together, and what waits for what.
create table studies (
    id uuid primary key,
    name text not null,
    project text not null references projects (name),
    tags text[] not null,
    notes text,
    -- What was submitted, so that it can be read and submitted again.
    document jsonb not null,
    created_at timestamptz not null default now()
);
create index studies_by_project on studies (project, id desc);

-- The place of an experiment in its study: the id given there and, where it is swept, the number of the point.
alter table experiments add column study_id uuid references studies (id) on delete set null;
alter table experiments add column study_key text;
alter table experiments add column study_point integer;
-- The fields that the sweep set at that point.
alter table experiments add column study_parameters jsonb;
alter table experiments add constraint experiments_study_place
    check (study_id is null or study_key is not null);
create index experiments_by_study on experiments (study_id, study_key) where study_id is not null;

-- A run waits until every run that it depends on has succeeded. Runs of a study get their ids in an order in which
-- what comes first has the smaller id, so locking by id never meets itself.
create table dependencies (
    run_id uuid not null references runs (id) on delete cascade,
    on_run_id uuid not null references runs (id) on delete cascade,
    -- The checkpoint that flows along: none where the run only comes after the other.
    checkpoint text,
    constraint dependencies_pkey primary key (run_id, on_run_id),
    constraint dependencies_checkpoint_known check (checkpoint in ('best', 'last')),
    constraint dependencies_in_order check (on_run_id < run_id)
);
create index dependencies_by_parent on dependencies (on_run_id);

-- Why a run was skipped, or ended before its end, in words; and whether it was a sweep that ended it.
alter table runs add column reason text;
alter table runs add column stopped_by_sweep boolean not null default false;
