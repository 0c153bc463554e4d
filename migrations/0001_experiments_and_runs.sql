-- What was asked for, and its execution. The spec's text is kept as it was hashed, so that its SHA-256 can be
-- checked against the row for ever.
create table experiments (
    id uuid primary key,
    name text not null,
    kind text not null,
    preset text,
    seed bigint not null,
    tags text[] not null,
    spec text not null,
    spec_sha256 text not null,
    created_at timestamptz not null default now(),
    constraint experiments_seed_range check (seed between 0 and 9007199254740991),
    constraint experiments_spec_sha256_hex check (spec_sha256 ~ '^[0-9a-f]{64}$')
);

create index experiments_tags on experiments using gin (tags);

-- What a list shows of a run stands in its row, kept up to date by the transaction that stores the points.
create table runs (
    id uuid primary key,
    experiment_id uuid not null references experiments (id),
    state text not null default 'queued',
    priority integer not null,
    device_need text not null,
    slots integer not null,
    memory_bytes bigint,
    labels jsonb not null,
    fencing_token bigint not null default 0,
    attempts integer not null default 0,
    -- Attempts lost in a row without a newer checkpoint, and internal errors: what decides about giving up.
    lost_in_row integer not null default 0,
    internal_failures integer not null default 0,
    failure_class text,
    failure_message text,
    batches_total bigint not null,
    batches_done bigint not null default 0,
    batches_per_second double precision,
    last_loss_step bigint,
    last_loss double precision,
    last_validation_step bigint,
    last_validation double precision,
    best_validation_step bigint,
    best_validation double precision,
    -- Number of the newest event; events are numbered under this row's lock, so none is ever skipped.
    last_event bigint not null default 0,
    created_at timestamptz not null default now(),
    queued_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz not null default now(),
    constraint runs_state_known check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    constraint runs_device_known check (device_need in ('any', 'cpu', 'cuda')),
    constraint runs_slots_positive check (slots > 0),
    constraint runs_finished_when_final
        check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint runs_failure_when_failed check ((state = 'failed') = (failure_class is not null)),
    constraint runs_failure_class_known
        check (failure_class in ('bad_spec', 'out_of_memory', 'diverged', 'lost', 'internal'))
);

-- The claim walks this index and stops at the first run that fits.
create index runs_queue on runs (priority desc, queued_at, id) where state = 'queued';
create index runs_by_state on runs (state, id desc);
create index runs_by_experiment on runs (experiment_id);
create index runs_by_change on runs (updated_at);
