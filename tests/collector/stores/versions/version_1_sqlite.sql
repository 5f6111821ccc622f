CREATE TABLE agents (
    agent TEXT NOT NULL,
    area TEXT NOT NULL,
    config_version TEXT NOT NULL,
    online BOOLEAN,
    session TEXT,
    version TEXT,
    status_received BIGINT,
    last_seen BIGINT,
    PRIMARY KEY (agent)
);
CREATE INDEX agents_by_area ON agents (area);
CREATE TABLE audit_entries (
    number BIGINT NOT NULL,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    area TEXT NOT NULL,
    outcome TEXT NOT NULL,
    entry TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (number)
);
CREATE INDEX audit_by_actor ON audit_entries (actor);
CREATE INDEX audit_by_time ON audit_entries (time);
CREATE TABLE audit_seals (
    number BIGINT NOT NULL,
    time BIGINT NOT NULL,
    hash TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (number)
);
CREATE TABLE broadcast_targets (
    broadcast TEXT NOT NULL,
    number INTEGER NOT NULL,
    command TEXT NOT NULL,
    area TEXT,
    agent TEXT,
    device TEXT,
    sent BOOLEAN,
    problem TEXT NOT NULL,
    PRIMARY KEY (broadcast, number)
);
CREATE INDEX broadcast_targets_by_command ON broadcast_targets (command);
CREATE TABLE broadcasts (
    id TEXT NOT NULL,
    issued BIGINT NOT NULL,
    issuer TEXT NOT NULL,
    arguments TEXT NOT NULL,
    audio TEXT,
    start BIGINT,
    "end" BIGINT NOT NULL,
    lasts FLOAT NOT NULL,
    sent BOOLEAN,
    problem TEXT NOT NULL,
    withdrawn BIGINT,
    withdrawn_by TEXT,
    withdrawal_reason TEXT,
    withdrawal_sent BIGINT,
    expected INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    sounding INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX broadcasts_by_end ON broadcasts ("end");
CREATE INDEX broadcasts_by_issue ON broadcasts (issued);
CREATE TABLE cap_alerts (
    id TEXT NOT NULL,
    sender TEXT NOT NULL,
    identifier TEXT NOT NULL,
    sent BIGINT NOT NULL,
    feed TEXT NOT NULL,
    signer TEXT NOT NULL,
    digest TEXT NOT NULL,
    received BIGINT NOT NULL,
    until BIGINT NOT NULL,
    person TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (sender, identifier, sent)
);
CREATE INDEX cap_alerts_by_end ON cap_alerts (until);
CREATE INDEX cap_alerts_by_receipt ON cap_alerts (received);
CREATE TABLE cap_broadcasts (
    broadcast TEXT NOT NULL,
    alert TEXT NOT NULL,
    info INTEGER NOT NULL,
    areas TEXT NOT NULL,
    arguments TEXT NOT NULL,
    audio TEXT,
    state TEXT NOT NULL,
    problem TEXT NOT NULL,
    claimed BIGINT NOT NULL,
    superseded TEXT,
    withdrawn INTEGER NOT NULL,
    PRIMARY KEY (broadcast)
);
CREATE INDEX cap_broadcasts_by_alert ON cap_broadcasts (alert);
CREATE INDEX cap_broadcasts_by_state ON cap_broadcasts (state);
CREATE TABLE cap_feeds (
    feed TEXT NOT NULL,
    heard BIGINT,
    sent BIGINT,
    quiet BIGINT,
    alarmed BIGINT,
    PRIMARY KEY (feed)
);
CREATE TABLE cap_references (
    alert TEXT NOT NULL,
    sender TEXT NOT NULL,
    identifier TEXT NOT NULL,
    sent BIGINT NOT NULL,
    PRIMARY KEY (alert, sender, identifier, sent)
);
CREATE INDEX cap_references_by_name ON cap_references (sender, identifier);
CREATE TABLE certificates (
    serial TEXT NOT NULL,
    subject TEXT NOT NULL,
    "key" TEXT NOT NULL,
    pem TEXT NOT NULL,
    issued BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    revoked BIGINT,
    PRIMARY KEY (serial)
);
CREATE INDEX certificates_by_expiry ON certificates (expires);
CREATE INDEX certificates_by_subject ON certificates (subject);
CREATE TABLE command_results (
    command TEXT NOT NULL,
    agent TEXT NOT NULL,
    device TEXT NOT NULL,
    expected BOOLEAN NOT NULL,
    outcome TEXT,
    reason TEXT,
    result TEXT,
    time BIGINT,
    event TEXT,
    PRIMARY KEY (command, agent, device)
);
CREATE TABLE commands (
    id TEXT NOT NULL,
    issued BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    issuer TEXT NOT NULL,
    target TEXT NOT NULL,
    arguments TEXT NOT NULL,
    sent BOOLEAN,
    problem TEXT NOT NULL,
    expected INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    final INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX commands_by_issue ON commands (issued);
CREATE TABLE counters (
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE dead_letters (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    topic TEXT NOT NULL,
    received BIGINT NOT NULL,
    reason TEXT NOT NULL,
    content BLOB NOT NULL
);
CREATE TABLE devices (
    agent TEXT NOT NULL,
    device TEXT NOT NULL,
    driver TEXT NOT NULL,
    kind TEXT NOT NULL,
    abilities TEXT NOT NULL,
    name TEXT NOT NULL,
    firmware TEXT NOT NULL,
    removed BIGINT,
    PRIMARY KEY (agent, device)
);
CREATE TABLE enrolments (
    digest TEXT NOT NULL,
    agent TEXT NOT NULL,
    area TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    "by" TEXT NOT NULL,
    used BIGINT,
    "key" TEXT,
    PRIMARY KEY (digest)
);
CREATE TABLE events (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    time BIGINT NOT NULL,
    received BIGINT NOT NULL,
    agent TEXT NOT NULL,
    area TEXT NOT NULL,
    device TEXT,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (id)
);
CREATE INDEX events_by_agent ON events (agent, time);
CREATE INDEX events_by_receipt ON events (received);
CREATE INDEX events_by_time ON events (time);
CREATE TABLE grants (
    person TEXT NOT NULL,
    role TEXT NOT NULL,
    area TEXT NOT NULL,
    PRIMARY KEY (person, role, area)
);
CREATE TABLE identities (
    agent TEXT NOT NULL,
    area TEXT NOT NULL,
    added BIGINT NOT NULL,
    revoked BIGINT,
    PRIMARY KEY (agent)
);
CREATE TABLE ledger (
    agent TEXT NOT NULL,
    item_class TEXT NOT NULL,
    reason TEXT NOT NULL,
    count BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    received BIGINT NOT NULL,
    time BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (agent, item_class, reason)
);
CREATE TABLE link_losses (
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    connection INTEGER NOT NULL,
    received BIGINT NOT NULL,
    PRIMARY KEY (agent, session, connection)
);
CREATE TABLE persons (
    person TEXT NOT NULL,
    created BIGINT NOT NULL,
    password TEXT,
    password_until BIGINT,
    totp TEXT,
    totp_step BIGINT,
    disabled BOOLEAN NOT NULL,
    PRIMARY KEY (person)
);
CREATE TABLE publicity (
    month TEXT NOT NULL,
    area TEXT NOT NULL,
    agent TEXT NOT NULL,
    device TEXT NOT NULL,
    category TEXT NOT NULL,
    seconds FLOAT NOT NULL,
    plays INTEGER NOT NULL,
    PRIMARY KEY (month, area, agent, device, category)
);
CREATE TABLE receipts (
    broadcast TEXT NOT NULL,
    agent TEXT NOT NULL,
    device TEXT NOT NULL,
    expected BOOLEAN NOT NULL,
    area TEXT NOT NULL,
    target INTEGER,
    asked BIGINT,
    asks INTEGER NOT NULL,
    stage TEXT,
    reason TEXT,
    evidence TEXT,
    started BIGINT,
    play INTEGER,
    position FLOAT,
    overrode BOOLEAN,
    time BIGINT,
    event TEXT,
    PRIMARY KEY (broadcast, agent, device)
);
CREATE TABLE schedules (
    target TEXT NOT NULL,
    area TEXT,
    agent TEXT,
    device TEXT,
    number BIGINT NOT NULL,
    document TEXT NOT NULL,
    changed BIGINT NOT NULL,
    "by" TEXT NOT NULL,
    PRIMARY KEY (target)
);
CREATE TABLE schema_version (
    version INTEGER NOT NULL
);
CREATE TABLE sessions (
    number INTEGER NOT NULL,
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    connection INTEGER,
    PRIMARY KEY (number),
    UNIQUE (agent, session)
);
CREATE TABLE states (
    agent TEXT NOT NULL,
    device TEXT NOT NULL,
    session TEXT NOT NULL,
    status TEXT NOT NULL,
    code TEXT NOT NULL,
    evidence TEXT NOT NULL,
    since BIGINT NOT NULL,
    time BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (agent, device, session)
);
CREATE TABLE tokens (
    id TEXT NOT NULL,
    digest TEXT NOT NULL,
    person TEXT NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    grants TEXT,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT,
    PRIMARY KEY (id),
    UNIQUE (digest)
);
CREATE INDEX tokens_by_person ON tokens (person);
