-- What happened to a run, numbered without gaps from 1, so that a stream can be resumed; kept for an hour.
-- An event of points holds the ranges of steps only: the points are read from the chunks.
create table events (
    run_id uuid not null references runs (id),
    id bigint not null,
    kind text not null,
    payload jsonb not null,
    created_at timestamptz not null default now(),
    constraint events_pkey primary key (run_id, id),
    constraint events_kind_known check (kind in ('changed', 'metrics', 'rewind', 'checkpoint'))
);

create index events_by_age on events (created_at);
