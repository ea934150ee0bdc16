-- addressed: the platform says that it is meant for the assistant. sender_outside: that its writer is a guest or a stranger.
-- attachments: a JSON list, NULL for none. revision: what became of it since it was said, NULL for nothing.
ALTER TABLE messages ADD COLUMN addressed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN sender_outside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN attachments TEXT;
ALTER TABLE messages ADD COLUMN revision TEXT CHECK (revision IN ('edited', 'deleted'));

-- mark_seq: the last message before a lost connection, 0 for none, until everything after it has been fetched.
ALTER TABLE chats ADD COLUMN mark_seq INTEGER;
ALTER TABLE router_state ADD COLUMN mark_seq INTEGER;
