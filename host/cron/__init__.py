"""When something that repeats comes next: cron expressions in a time zone, and fixed intervals from an anchor."""
