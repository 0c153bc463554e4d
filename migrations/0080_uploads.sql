-- Uploads that are under way. An upload goes to the place of its hash at once, so its blob has a row before its bytes
-- are there, and the upload keeps it from being collected until a checkpoint or an artifact names it.
create table uploads (
    id uuid primary key,
    attempt_id uuid not null references attempts (id) on delete cascade,
    sha256 text not null references blobs (sha256),
    size_bytes bigint not null,
    -- What a bucket calls an upload in parts: with it, one that nobody goes on with can be taken back.
    multipart_id text,
    -- Sent in parts by several requests, which lie in the artifact store until the whole is verified.
    resumable boolean not null default false,
    touched_at timestamptz not null default now(),
    constraint uploads_size_not_negative check (size_bytes >= 0)
);

create index uploads_by_blob on uploads (sha256);
create index uploads_by_attempt on uploads (attempt_id);
create index uploads_by_age on uploads (touched_at);

create table upload_parts (
    upload_id uuid not null references uploads (id) on delete cascade,
    first_byte bigint not null,
    size_bytes bigint not null,
    constraint upload_parts_pkey primary key (upload_id, first_byte),
    constraint upload_parts_size_positive check (size_bytes > 0)
);

-- The collection looks for the oldest blobs that nothing names.
create index blobs_by_age on blobs (created_at);
