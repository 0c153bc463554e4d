-- Curves. Points lie in chunks of up to a thousand: steps as differences in variable length, values as
-- 64-bit floats, little endian. One row a point would cost ten times the space and most of the ingest.
create table series (
    id bigint generated always as identity primary key,
    run_id uuid not null references runs (id),
    name text not null,
    points bigint not null default 0,
    last_step bigint,
    constraint series_name_once unique (run_id, name),
    constraint series_last_step_when_points check ((points = 0) = (last_step is null))
);

create table series_chunks (
    series_id bigint not null references series (id) on delete cascade,
    first_step bigint not null,
    last_step bigint not null,
    points integer not null,
    steps bytea not null,
    "values" bytea not null,
    constraint series_chunks_pkey primary key (series_id, first_step),
    constraint series_chunks_steps_rise check (last_step >= first_step),
    constraint series_chunks_values_fit check (octet_length("values") = 8 * points)
);

-- The values hardly compress: do not try on every append.
alter table series_chunks alter column steps set storage external;
alter table series_chunks alter column "values" set storage external;
