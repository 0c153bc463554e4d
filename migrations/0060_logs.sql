-- Log lines of attempts: chunks of JSON lines, compressed; only the last chunk of an attempt is ever written anew.
create table log_chunks (
    run_id uuid not null references runs (id) on delete cascade,
    attempt_number integer not null,
    -- The number of its first line, and the number behind its last.
    first_sequence bigint not null,
    next_sequence bigint not null,
    lines integer not null,
    -- Before compression: what the bound of a run counts.
    text_bytes integer not null,
    -- From 0 for trace to 4 for error, so that a search for errors passes over the rest.
    highest_level smallint not null,
    created_at timestamptz not null default now(),
    data bytea not null,
    constraint log_chunks_pkey primary key (run_id, attempt_number, first_sequence),
    constraint log_chunks_sequences_rise check (next_sequence >= first_sequence + lines),
    constraint log_chunks_level_known check (highest_level between 0 and 4)
) with (fillfactor = 70);

create index log_chunks_by_age on log_chunks (created_at);
alter table log_chunks alter column data set storage external;

-- The line that comes next: what was stored already is not stored again.
alter table attempts add column next_log_line bigint not null default 0;

-- A stream that learns of a new kind passes over it, so the words need no list here that every new one has to change.
alter table events drop constraint events_kind_known;
alter table events add constraint events_kind_known check (kind ~ '^[a-z_]{1,32}$');
