-- context: it was said before the assistant was called, is kept for the prompt, and wakes nobody.
ALTER TABLE messages ADD COLUMN context INTEGER NOT NULL DEFAULT 0;

-- registered_at: since when the chat belongs to its group; what was said before is not looked for.
ALTER TABLE chats ADD COLUMN registered_at INTEGER;
-- Since when those do that belong to one already was not written down, and a chat may have joined long after its group was
-- made: as late as can be, so that nothing is looked for that was said before it joined.
UPDATE chats SET registered_at = coalesce(
    (SELECT max(timestamp) FROM messages WHERE messages.chat_id = chats.chat_id),
    unixepoch() * 1000
) WHERE group_name IS NOT NULL;
