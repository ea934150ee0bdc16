-- Times are milliseconds since 1970, in UTC. The thread of a conversation that is in none is ''.
-- Order is by seq, which is assigned on arrival; messages.timestamp is the platform's word and for display only.

CREATE TABLE registered_groups (
    name TEXT NOT NULL PRIMARY KEY,
    trigger_pattern TEXT,
    requires_trigger INTEGER NOT NULL,
    container_config TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chats (
    chat_id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    group_name TEXT REFERENCES registered_groups (name) ON DELETE SET NULL,
    -- Kept up for chats without a group only; for the others the last message tells.
    last_message_time INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX chats_of_group ON chats (group_name) WHERE group_name IS NOT NULL;

CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id TEXT NOT NULL REFERENCES chats (chat_id),
    thread TEXT NOT NULL,
    id TEXT NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    is_from_me INTEGER NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (chat_id, id)
) STRICT;

CREATE INDEX messages_of_conversation ON messages (chat_id, thread);

-- One row per conversation. last_seq: the newest message by somebody else. seen_seq: how far the router has looked.
-- triggered_seq: the newest message that wakes the assistant. cursor: how far finished runs have come.
-- waiting_seq: the place in the queue. attempt and not_before: failed runs since the cursor moved, and the pause after.
CREATE TABLE router_state (
    chat_id TEXT NOT NULL REFERENCES chats (chat_id),
    thread TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    seen_seq INTEGER NOT NULL DEFAULT 0,
    triggered_seq INTEGER NOT NULL DEFAULT 0,
    waiting_seq INTEGER NOT NULL DEFAULT 0,
    cursor INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER,
    PRIMARY KEY (chat_id, thread),
    CHECK (cursor <= seen_seq AND seen_seq <= last_seq AND triggered_seq <= last_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX router_state_unseen ON router_state (seen_seq) WHERE last_seq > seen_seq;
CREATE INDEX router_state_due ON router_state (waiting_seq) WHERE triggered_seq > cursor;

CREATE TABLE sessions (
    chat_id TEXT NOT NULL REFERENCES chats (chat_id),
    thread TEXT NOT NULL,
    session_id TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (chat_id, thread)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id TEXT NOT NULL REFERENCES chats (chat_id),
    thread TEXT NOT NULL,
    group_name TEXT NOT NULL,
    from_seq INTEGER NOT NULL,
    -- The last message that it began with; through_seq is later once it was handed more.
    begun_seq INTEGER NOT NULL,
    through_seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('claimed', 'running', 'done', 'cancelled', 'failed', 'given_up', 'interrupted')
    ),
    sandbox TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    -- Grows with every change to any run, so that readers can ask for what is newer.
    updated_at INTEGER NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    cost_micros INTEGER NOT NULL DEFAULT 0,
    error TEXT
) STRICT;

-- At most one unfinished run per conversation.
CREATE UNIQUE INDEX runs_unfinished ON runs (chat_id, thread) WHERE state IN ('claimed', 'running');
CREATE INDEX runs_given_up ON runs (id) WHERE state = 'given_up';
CREATE INDEX runs_updated ON runs (updated_at);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    thread TEXT NOT NULL,
    run INTEGER REFERENCES runs (id),
    -- Set on the row that ends its run: how far the run came, and whether it answered.
    ends_through INTEGER,
    ends_answered INTEGER,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    external_id TEXT,
    error TEXT,
    text TEXT NOT NULL
) STRICT;

CREATE INDEX outbox_open ON outbox (channel, chat_id, thread, id) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_failed ON outbox (id) WHERE state = 'failed';
CREATE INDEX outbox_of_run ON outbox (run);
CREATE UNIQUE INDEX outbox_end_of_run ON outbox (run) WHERE ends_through IS NOT NULL;

-- What agents asked for, and what they were told.
CREATE TABLE requests (
    group_name TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    id TEXT NOT NULL,
    ok INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (group_name, sandbox, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_age ON requests (created_at);

CREATE TABLE usage (
    day TEXT NOT NULL,
    group_name TEXT NOT NULL,
    requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cost_micros INTEGER NOT NULL,
    PRIMARY KEY (day, group_name)
) STRICT, WITHOUT ROWID;
