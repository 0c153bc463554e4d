-- Bytes in the artifact store by their hash, and the checkpoints that name them. A blob that nothing names is
-- deleted under its row's lock, which an upload of the same bytes takes too.
create table blobs (
    sha256 text primary key,
    size_bytes bigint not null,
    created_at timestamptz not null default now(),
    constraint blobs_sha256_hex check (sha256 ~ '^[0-9a-f]{64}$')
);

create table checkpoints (
    id uuid primary key,
    run_id uuid not null references runs (id),
    attempt_id uuid not null references attempts (id),
    kind text not null,
    next_batch bigint not null,
    validation double precision,
    sha256 text not null references blobs (sha256),
    created_at timestamptz not null default now(),
    constraint checkpoints_kind_known check (kind in ('best', 'last')),
    -- A newer one of the same kind replaces the older.
    constraint checkpoints_kind_once unique (run_id, kind)
);

create index checkpoints_by_blob on checkpoints (sha256);
