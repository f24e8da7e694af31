-- Sessions: connections that a client can come back to. Only a keyed hash of the secret is here.

ALTER TABLE connections ADD COLUMN session BLOB;
ALTER TABLE connections ADD COLUMN session_expires_at INTEGER;
ALTER TABLE connections ADD COLUMN sent_bytes INTEGER NOT NULL DEFAULT 0;

CREATE INDEX connections_by_session ON connections (actor_id, session) WHERE session IS NOT NULL;

-- A ring for each session connection. `start` counts the bytes of all frames before, so that the ring's end in bytes is
-- found as quickly as its end in frames. Text is stored as text, binary as a blob.
CREATE TABLE outbox (
    actor_id TEXT NOT NULL,
    conn_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    frame NOT NULL,
    PRIMARY KEY (actor_id, conn_id, idx)
) WITHOUT ROWID;
