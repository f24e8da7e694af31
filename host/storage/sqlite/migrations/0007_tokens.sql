-- Tokens of tenants. `hash` is the keyed hash of the secret; the secret is nowhere.

CREATE TABLE tokens (
    tenant TEXT NOT NULL,
    token_id TEXT NOT NULL,
    label TEXT NOT NULL,
    scopes TEXT NOT NULL,
    hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (tenant, token_id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX tokens_by_hash ON tokens (hash);
