-- Why each table looks as it does:
-- `task` is written once and never changed; how a task stands is in `open` (narrow, small, hot) until it ends, then in
-- `result`, in the order of ending. Names sort by their bytes, whatever the database's language.
CREATE TABLE head(
    id smallint PRIMARY KEY CHECK (id = 0), revision bigint NOT NULL, change_oldest bigint NOT NULL,
    position bigint NOT NULL, last_id bigint NOT NULL, records bigint NOT NULL,
    tasks_open bigint NOT NULL, tasks_ended bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO head VALUES (0, 0, 1, 0, 0, 0, 0, 0);
-- The last group that each writer has committed: how it learns what became of a commit whose answer was lost.
CREATE TABLE writer(
    id bigint PRIMARY KEY, done bigint NOT NULL, at timestamptz NOT NULL) WITH (fillfactor = 10);
CREATE TABLE task(
    id bigint PRIMARY KEY, target bigint NOT NULL, run bigint, batch bigint NOT NULL, body bytea NOT NULL);
CREATE INDEX task_target ON task(target, id);
CREATE INDEX task_run ON task(run, id) WHERE run IS NOT NULL;
-- Rows come and go all the time: they are cleaned up early.
CREATE TABLE open(
    id bigint PRIMARY KEY, target bigint NOT NULL, priority smallint NOT NULL, line integer NOT NULL,
    attempt bigint NOT NULL, run bigint, batch bigint NOT NULL, not_before bigint, sent_epoch bigint, sent_at bigint,
    checkpoint bytea, history text)
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
          autovacuum_vacuum_cost_delay = 0);
CREATE INDEX open_line ON open(priority, line, id);
CREATE INDEX open_target ON open(target, id);
CREATE INDEX open_held ON open(run, batch, id) WHERE priority = 0;
CREATE TABLE result(
    position bigint PRIMARY KEY, task bigint NOT NULL, status smallint NOT NULL, changed boolean NOT NULL,
    attempt bigint NOT NULL, at bigint NOT NULL, ending bytea NOT NULL);
CREATE UNIQUE INDEX result_task ON result(task);
CREATE INDEX result_bad ON result(status, task) WHERE status <> 1;
CREATE TABLE record(
    kind text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, uid bigint NOT NULL,
    revision bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE change(
    revision bigint PRIMARY KEY, kind text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
    deleted boolean NOT NULL);
CREATE TABLE stream(id integer PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE entry(
    stream integer NOT NULL, position bigint NOT NULL, key bigint NOT NULL, at bigint NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (stream, position));
CREATE INDEX entry_key ON entry(key, stream, position) WHERE key <> 0;
CREATE TABLE meta(key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50);
