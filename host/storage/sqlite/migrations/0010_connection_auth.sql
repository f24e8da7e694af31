-- What the auth hook of an actor made of a connection's client.

ALTER TABLE connections ADD COLUMN auth BLOB;
