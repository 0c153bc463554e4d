-- An upload that was under way.
insert into uploads (id, attempt_id, sha256, size_bytes)
values ('01900000-0000-7000-8000-000000001001', '01900000-0000-7000-8000-00000000d002', repeat('3', 64), 8);
