-- Something that was done.
insert into audit (actor, name, token_id, action, subject, project, details)
values ('token', 'old token', '01900000-0000-7000-8000-000000004001', 'run.cancel',
        '01900000-0000-7000-8000-00000000b201', 'arm', '{"name": "first"}');
