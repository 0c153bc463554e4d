-- A token and a browser that signed in with it.
insert into tokens (id, name, secret_sha256, scopes, projects, created_by)
values ('01900000-0000-7000-8000-000000004001', 'old token', decode(repeat('ab', 32), 'hex'), '{read,submit}', '{arm}',
        'console');
insert into sessions (id, token_id, secret_sha256, expires_at)
values ('01900000-0000-7000-8000-000000004101', '01900000-0000-7000-8000-000000004001', decode(repeat('cd', 32), 'hex'),
        now() + interval '1 day');
