INSERT INTO schema_version (version) VALUES (1);
INSERT INTO agents (agent, area, config_version, online, session, version, status_received, last_seen) VALUES
    ('gate-1', '441900003001', '1', true, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '0.1.0', 1795507200000000, 1795507200000000);
INSERT INTO devices (agent, device, driver, kind, abilities, name, firmware, removed) VALUES
    ('gate-1', 'reader', 'osdp', 'door_reader', ' door  indicator ', '祠堂大门', '2.1', NULL),
    ('gate-1', 'speaker', 'sound', 'loudspeaker', ' loudspeaker  file_player ', '村口', '', NULL),
    ('gate-1', 'horn', 'sound', 'loudspeaker', ' loudspeaker ', '', '', 1795507200000000);
INSERT INTO events (number, id, time, received, agent, area, device, kind, data) VALUES
    (7, '01a20d03-e33d-7aba-a831-e986e5e7f26d', 1795507200000000, 1795507200000000, 'gate-1', '441900003001', 'reader',
     'button_pressed', '{"action":"single"}');
INSERT INTO broadcasts (id, issued, issuer, arguments, "end", lasts, sent, problem, expected, heard, sounding, failed, revision) VALUES
    ('01a20d03-0000-7000-8000-000000000001', 1795507200000000, '陈站长',
     '{"kind":"broadcast","rank":"notice","text":"开会","end":"2026-11-25T08:00:00Z"}', 1795593600000000, 12.5, true, '', 1, 0, 0, 0, 3);
INSERT INTO broadcast_targets (broadcast, number, command, area, agent, device, sent, problem) VALUES
    ('01a20d03-0000-7000-8000-000000000001', 0, '01a20d03-0000-7000-8000-000000000001', '441900003000', NULL, NULL, true, '');
INSERT INTO receipts (broadcast, agent, device, expected, area, target, asked, asks) VALUES
    ('01a20d03-0000-7000-8000-000000000001', 'gate-1', 'speaker', true, '441900003001', 0, 1795507200000000, 0);
