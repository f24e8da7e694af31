-- The protocol that the host speaks on a connection: '' for a raw socket, else the encoding of a /connect socket.

ALTER TABLE connections ADD COLUMN protocol TEXT NOT NULL DEFAULT '';
