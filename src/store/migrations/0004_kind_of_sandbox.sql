-- Only the kind that made a sandbox can say that it is gone.
ALTER TABLE runs ADD COLUMN sandbox_kind TEXT;
