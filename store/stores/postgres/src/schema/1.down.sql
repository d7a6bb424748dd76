DROP TABLE meta, entry, stream, change, record, result, open, task, writer, head;
