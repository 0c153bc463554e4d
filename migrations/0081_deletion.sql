-- Runs that somebody deleted. The run goes at once with everything that is small; what may be much is found by its id
-- and goes bit by bit. So points, journals, log lines and events outlive their run for a while.
create table deletions (
    run_id uuid primary key,
    -- Where the run was: whoever could see it may hear that it is gone.
    project text not null,
    study_id uuid,
    requested_at timestamptz not null default now(),
    -- When nothing was left; the row stays for a day, so that a repeated request is understood.
    finished_at timestamptz
);

create index deletions_open on deletions (requested_at) where finished_at is null;
-- Streams of all runs ask for the newest.
create index deletions_by_age on deletions (requested_at desc);

create index deletions_by_study on deletions (study_id) where study_id is not null;

-- Which rows stand in the way of one that goes is asked for each of them.
create index checkpoints_by_run on checkpoints (run_id);
create index checkpoints_by_attempt on checkpoints (attempt_id);
create index artifacts_by_attempt on artifacts (attempt_id);

alter table series drop constraint series_run_id_fkey;
alter table journals drop constraint journals_run_id_fkey;
alter table log_chunks drop constraint log_chunks_run_id_fkey;
alter table events drop constraint events_run_id_fkey;
