-- What admission found in a module, as JSON. NULL for modules that were stored before there were reports.

ALTER TABLE modules ADD COLUMN report TEXT;
