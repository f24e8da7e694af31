-- Crons are alarms that repeat: what they repeat by, as JSON. And what became of their runs, the latest of each.

ALTER TABLE alarms ADD COLUMN repeat TEXT;

CREATE TABLE cron_runs (
    actor_id TEXT NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    action TEXT NOT NULL,
    scheduled_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    result TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    error TEXT,
    number INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (actor_id, name, seq)
) WITHOUT ROWID;
