-- A request counts for all attempts at the same messages, whichever sandbox it comes from.
CREATE TABLE requests_of_attempts (
    chat_id TEXT NOT NULL,
    thread TEXT NOT NULL,
    from_seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    ok INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (chat_id, thread, from_seq, id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO requests_of_attempts
SELECT runs.chat_id, runs.thread, runs.from_seq, requests.id, requests.ok, requests.text, requests.created_at
FROM requests JOIN runs ON runs.sandbox = requests.sandbox AND runs.state IN ('claimed', 'running');

DROP TABLE requests;
ALTER TABLE requests_of_attempts RENAME TO requests;
CREATE INDEX requests_by_age ON requests (created_at);
