-- Sweeps by asynchronous successive halving: runs stop at rungs, and the best go on.
create table sweeps (
    study_id uuid not null references studies (id) on delete cascade,
    study_key text not null,
    -- Batches at which runs are compared, rising; the last rung is followed by the end of the training.
    rungs bigint[] not null,
    -- One of so many goes on from each rung.
    reduction integer not null,
    metric text not null,
    maximize boolean not null,
    constraint sweeps_pkey primary key (study_id, study_key),
    constraint sweeps_reduction_reduces check (reduction >= 2),
    constraint sweeps_have_rungs check (cardinality(rungs) >= 1)
);
-- The batch at which a run is to stop for its sweep; none means its end.
alter table runs add column stop_at bigint;
create index runs_at_rungs on runs (experiment_id) where state = 'paused' and stop_at is not null;

create table rungs_reached (
    run_id uuid not null references runs (id) on delete cascade,
    batch bigint not null,
    -- The metric's newest value before that batch; none where there is none that is a number.
    value double precision,
    reached_at timestamptz not null default now(),
    constraint rungs_reached_pkey primary key (run_id, batch)
);
