-- A worker that was set aside.
update workers set set_aside_at = now(), set_aside_reason = 'runs fail on it', trial_at = now() + interval '1 hour',
                   times_set_aside = 1;
