-- text: what is said, the caption of a file, or the name of an emoji. message_id: what is reacted to.
-- file_source: where the agent had the file, in the home. file_copy: the name of our copy, which goes when the row is settled.
-- external_id is set before a file is sent: what the platform calls what it has of it.
-- tells_of: the row that was given up, on the one that says so in its conversation.
ALTER TABLE outbox ADD COLUMN message_id TEXT;
ALTER TABLE outbox ADD COLUMN file_name TEXT;
ALTER TABLE outbox ADD COLUMN file_bytes INTEGER;
ALTER TABLE outbox ADD COLUMN file_source TEXT;
ALTER TABLE outbox ADD COLUMN file_copy TEXT;
ALTER TABLE outbox ADD COLUMN tells_of INTEGER;
