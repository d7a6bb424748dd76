DROP TABLE part, blob, upload;
