-- A run that was deleted and is not swept yet.
insert into deletions (run_id, project) values ('01900000-0000-7000-8000-00000000b301', 'arm');
insert into series (run_id, name, points) values ('01900000-0000-7000-8000-00000000b301', 'loss/total', 0);
