-- Who works, and each try at a run. A lease is an attempt's fencing token with an end by the database's clock.
create table workers (
    id uuid primary key,
    name text not null,
    version text not null,
    device text not null,
    device_name text not null,
    slots integer not null,
    memory_bytes bigint,
    labels jsonb not null,
    registered_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    constraint workers_device_known check (device in ('cpu', 'cuda')),
    constraint workers_slots_positive check (slots > 0)
);

create table attempts (
    id uuid primary key,
    run_id uuid not null references runs (id),
    number integer not null,
    worker_id uuid not null references workers (id),
    state text not null default 'running',
    fencing_token bigint not null,
    lease_expires_at timestamptz not null,
    first_batch bigint not null,
    -- The metrics batch that comes next: what was stored already is not stored again.
    next_sequence bigint not null default 0,
    failure_class text,
    failure_message text,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint attempts_state_known
        check (state in ('running', 'succeeded', 'failed', 'lost', 'released', 'cancelled')),
    constraint attempts_finished_when_over check ((state = 'running') = (finished_at is null)),
    constraint attempts_failure_when_failed check ((state = 'failed') = (failure_class is not null)),
    constraint attempts_number_once unique (run_id, number),
    constraint attempts_token_once unique (run_id, fencing_token)
);

-- A run is in one worker's hands at a time.
create unique index attempts_one_live_per_run on attempts (run_id) where state = 'running';
create index attempts_live_by_worker on attempts (worker_id) where state = 'running';
create index attempts_live_by_lease on attempts (lease_expires_at) where state = 'running';
