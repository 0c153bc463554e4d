-- A series whose values were noted.
insert into series (run_id, name, points, last_step, newest, least)
values ('01900000-0000-7000-8000-00000000b201', 'validation/total', 0, null, 0.5, 0.25);
