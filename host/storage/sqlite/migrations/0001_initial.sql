-- Everything of one actor is keyed by its id, so that a start reads neighbours and a destroy deletes ranges.
-- Values (state, payloads, params, connection state, input) carry a format byte; KV values are the tenant's own bytes.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- A row is never deleted: with a NULL actor_id it is the tombstone that keeps the generation.
CREATE TABLE keys (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    actor_id TEXT,
    generation INTEGER NOT NULL,
    PRIMARY KEY (tenant, name, key)
) WITHOUT ROWID;

CREATE TABLE actors (
    actor_id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    hop_seq INTEGER NOT NULL,
    kv_keys INTEGER NOT NULL DEFAULT 0,
    kv_bytes INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL,
    module TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_once INTEGER NOT NULL,
    wake_at INTEGER,
    lifecycle TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    retry_at INTEGER,
    last_error TEXT,
    started_at INTEGER,
    slept_at INTEGER,
    input BLOB
) WITHOUT ROWID;

CREATE INDEX actors_by_time ON actors (tenant, created_at, actor_id);
CREATE INDEX actors_by_name ON actors (tenant, name, created_at, actor_id);
CREATE INDEX actors_by_wake ON actors (wake_at, actor_id) WHERE wake_at IS NOT NULL;

CREATE TABLE state (
    actor_id TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE kv (
    actor_id TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (actor_id, key)
) WITHOUT ROWID;

-- The sizes are kept where the rows change, so that no path can forget them.
CREATE TRIGGER kv_grows AFTER INSERT ON kv BEGIN
    UPDATE actors
    SET kv_keys = kv_keys + 1, kv_bytes = kv_bytes + length(new.key) + length(new.value)
    WHERE actor_id = new.actor_id;
END;

CREATE TRIGGER kv_changes AFTER UPDATE ON kv WHEN length(new.value) <> length(old.value) BEGIN
    UPDATE actors
    SET kv_bytes = kv_bytes + length(new.value) - length(old.value)
    WHERE actor_id = new.actor_id;
END;

CREATE TRIGGER kv_shrinks AFTER DELETE ON kv BEGIN
    UPDATE actors
    SET kv_keys = kv_keys - 1, kv_bytes = kv_bytes - length(old.key) - length(old.value)
    WHERE actor_id = old.actor_id;
END;

CREATE TABLE alarms (
    actor_id TEXT NOT NULL,
    alarm_id TEXT NOT NULL,
    scheduled_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    fire_seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    faults INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (actor_id, alarm_id)
) WITHOUT ROWID;

-- Lists (settled_ahead, headers, tags, subscriptions) are JSON; NULL is the empty list.
CREATE TABLE connections (
    actor_id TEXT NOT NULL,
    conn_id TEXT NOT NULL,
    msg_index INTEGER NOT NULL,
    settled_ahead TEXT,
    last_seen_at INTEGER NOT NULL,
    sent_index INTEGER NOT NULL,
    gateway_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    path TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    hibernatable INTEGER NOT NULL,
    headers TEXT,
    params BLOB,
    state BLOB,
    tags TEXT,
    subscriptions TEXT,
    PRIMARY KEY (actor_id, conn_id)
) WITHOUT ROWID;

CREATE INDEX connections_by_gateway ON connections (gateway_id, actor_id);

-- Attempts and own faults of events that faulted before.
CREATE TABLE events (
    actor_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    idx INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    faults INTEGER NOT NULL,
    PRIMARY KEY (actor_id, kind, ref, idx)
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    actor_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    idx INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    at INTEGER NOT NULL,
    payload BLOB NOT NULL
);

CREATE INDEX dead_letters_by_actor ON dead_letters (actor_id, seq);

CREATE TABLE modules (
    tenant TEXT NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    stored_at INTEGER NOT NULL,
    source_url TEXT,
    PRIMARY KEY (tenant, digest)
) WITHOUT ROWID;

-- `version` is the latest; every version stays, for actors may still run on it.
CREATE TABLE definitions (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

CREATE TABLE definition_versions (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    module TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    options TEXT NOT NULL,
    limits TEXT NOT NULL,
    PRIMARY KEY (tenant, name, version)
) WITHOUT ROWID;
