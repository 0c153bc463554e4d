-- Experiments that start from a checkpoint, and the files that runs make.

-- The batch with which a run's training begins: not 0 where it continues another run's.
alter table runs add column first_batch bigint not null default 0;

-- A newer checkpoint replaces the older of its kind, unless an experiment starts from that one: then it is
-- superseded and stays.
alter table checkpoints add column superseded_at timestamptz;
alter table checkpoints drop constraint checkpoints_kind_once;
create unique index checkpoints_current_once on checkpoints (run_id, kind) where superseded_at is null;

alter table experiments add column base_checkpoint_id uuid references checkpoints (id);
create index experiments_by_base on experiments (base_checkpoint_id) where base_checkpoint_id is not null;
create index experiments_by_kind on experiments (kind);

create table artifacts (
    id uuid primary key,
    run_id uuid not null references runs (id),
    attempt_id uuid not null references attempts (id),
    name text not null,
    sha256 text not null references blobs (sha256),
    created_at timestamptz not null default now(),
    -- A newer one of the same name replaces the older.
    constraint artifacts_name_once unique (run_id, name)
);

create index artifacts_by_blob on artifacts (sha256);

alter table events drop constraint events_kind_known;
alter table events add constraint events_kind_known
    check (kind in ('changed', 'metrics', 'rewind', 'checkpoint', 'artifact'));
