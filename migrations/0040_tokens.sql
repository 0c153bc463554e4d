-- Tokens and the browsers that signed in with one. Of a secret only its SHA-256 is kept: secrets have well over
-- two hundred random bits, so that nobody can guess one from its hash and a slower hash would protect nothing.
create table tokens (
    id uuid primary key,
    name text not null,
    secret_sha256 bytea not null,
    scopes text[] not null,
    -- The projects it is limited to; null where it is not.
    projects text[],
    created_at timestamptz not null default now(),
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    -- To a minute.
    last_used_at timestamptz,
    constraint tokens_secret_once unique (secret_sha256),
    constraint tokens_secret_is_a_hash check (octet_length(secret_sha256) = 32),
    constraint tokens_name_given check (char_length(name) between 1 and 100),
    constraint tokens_scopes_known
        check (cardinality(scopes) > 0 and scopes <@ array['admin', 'submit', 'read', 'worker']),
    constraint tokens_projects_some check (cardinality(projects) > 0)
);

-- People tell tokens apart by their names.
create unique index tokens_name_once on tokens (name) where revoked_at is null;

create table sessions (
    id uuid primary key,
    token_id uuid not null references tokens (id),
    secret_sha256 bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint sessions_secret_once unique (secret_sha256),
    constraint sessions_secret_is_a_hash check (octet_length(secret_sha256) = 32)
);

create index sessions_by_token on sessions (token_id);
create index sessions_by_end on sessions (expires_at);

-- The projects that a worker works for: those of the token that it registered with. Null means all.
alter table workers add column projects text[];
