-- How the deploys of a definition go: a version is live or has failed, and reaches a share of the actors.

ALTER TABLE actors ADD COLUMN held_version INTEGER;

ALTER TABLE definition_versions ADD COLUMN status TEXT NOT NULL DEFAULT 'live';
ALTER TABLE definition_versions ADD COLUMN percent INTEGER NOT NULL DEFAULT 100;
ALTER TABLE definition_versions ADD COLUMN reason TEXT;

-- The latest start on a version that failed, for each actor that could not start on it.
CREATE TABLE deploy_failures (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    actor_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (tenant, name, version, actor_id)
) WITHOUT ROWID;

-- For the destroy of an actor; and for those that a host left half done.
CREATE INDEX deploy_failures_by_actor ON deploy_failures (actor_id);
CREATE INDEX actors_destroying ON actors (actor_id) WHERE lifecycle = 'destroying';
