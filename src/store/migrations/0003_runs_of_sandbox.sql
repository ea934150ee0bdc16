-- What a model call cost is added to the run of the sandbox that made it.
CREATE INDEX runs_of_sandbox ON runs (sandbox) WHERE sandbox IS NOT NULL;
