-- A sweep, and a rung that a run reached.
insert into sweeps (study_id, study_key, rungs, reduction, metric, maximize)
values ('01900000-0000-7000-8000-000000005001', 'first', '{4, 8}', 3, 'validation/total', false);
insert into rungs_reached (run_id, batch, value) values ('01900000-0000-7000-8000-00000000b201', 4, 0.5);
