-- Blobs in parts of one size. Parts belong to an upload, so that none is written again when the blob is finished.
CREATE TABLE upload(id bigint PRIMARY KEY, touched timestamptz NOT NULL);
CREATE TABLE blob(digest text COLLATE "C" PRIMARY KEY, bytes bigint NOT NULL, upload bigint NOT NULL UNIQUE);
CREATE TABLE part(upload bigint NOT NULL, number integer NOT NULL, body bytea NOT NULL, PRIMARY KEY (upload, number));
-- Images are compressed already.
ALTER TABLE part ALTER COLUMN body SET STORAGE EXTERNAL;
