-- What an operator set for one tenant: quotas by name, as JSON. A tenant without a row has the defaults.

CREATE TABLE tenants (
    tenant TEXT NOT NULL PRIMARY KEY,
    quotas TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) WITHOUT ROWID;
