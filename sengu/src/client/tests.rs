use super::*;

#[test]
fn events_are_cut_wherever_the_chunks_end() {
    let text =
        ": hello\n\nevent: put\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: end\r\n\r\ndata: x\n\n";
    for size in 1..text.len() {
        let mut reader = EventReader::default();
        text.as_bytes().chunks(size).for_each(|c| reader.push(c));
        let first = reader.pop().unwrap();
        assert_eq!(
            (first.name.as_str(), first.id.as_deref()),
            ("put", Some("7"))
        );
        assert_eq!(first.data, "{\"a\":\n1}");
        assert_eq!(reader.pop().unwrap().name, "end");
        assert_eq!(reader.pop().unwrap().data, "x");
        assert_eq!(reader.pop(), None);
    }
}

#[test]
fn names_cannot_leave_their_segment() {
    assert_eq!(encode("a/../b?c=d e"), "a%2F..%2Fb%3Fc%3Dd%20e");
}

#[test]
fn the_endpoint_file_is_found_in_the_data_directory() {
    let dir = std::env::temp_dir().join(format!("sengu-client-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let connect = Connect {
        data: Some(dir.clone()),
        ..Connect::default()
    };
    assert!(matches!(
        connect.endpoint(),
        Err(ClientError::NoServer { .. })
    ));
    std::fs::write(dir.join("endpoint"), "http://127.0.0.1:8470/\n").unwrap();
    assert_eq!(connect.endpoint().unwrap().0, "http://127.0.0.1:8470");
    std::fs::remove_dir_all(&dir).unwrap();
}
