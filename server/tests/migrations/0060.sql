-- A line of a log.
update attempts set next_log_line = 1 where id = '01900000-0000-7000-8000-00000000d001';
insert into log_chunks (run_id, attempt_number, first_sequence, next_sequence, lines, text_bytes, highest_level, data)
values ('01900000-0000-7000-8000-00000000b001', 1, 0, 1, 1, 102, 3, '\xab562a4e2d2c4dcd4b4e55b232d0512ac9cc0532948c0c8ccc740d0c8128c4c0c00a8ca29474947252cb527380d2e5894579406e4962517a6a09889f5f949d5a0414c94d2d2e4e4c07999098a7909f93a290939997aa54cb0500');
