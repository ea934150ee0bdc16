-- Messages that are shown and are no answers yet: a later process must take them away.
CREATE TABLE drafts (
    chat_id TEXT NOT NULL,
    thread TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (chat_id, thread, message)
) STRICT, WITHOUT ROWID;
