-- context: it was said before the assistant was called, is kept for the prompt, and wakes nobody.
ALTER TABLE messages ADD COLUMN context INTEGER NOT NULL DEFAULT 0;

-- registered_at: since when the chat belongs to its group; what was said before is not looked for.
ALTER TABLE chats ADD COLUMN registered_at INTEGER;
UPDATE chats SET registered_at = (SELECT added_at FROM registered_groups WHERE name = group_name);
