-- Sessions that ended, by the keyed hashes of their secrets: what was a session once is not opened anew.
CREATE TABLE ended_sessions (
    actor_id TEXT NOT NULL,
    session BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (actor_id, session)
) WITHOUT ROWID;

CREATE INDEX ended_sessions_by_time ON ended_sessions (actor_id, at);
