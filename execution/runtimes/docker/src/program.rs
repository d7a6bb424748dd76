//! What a program file says of itself, so that an image that cannot start is refused with a reason that helps, not by
//! the engine's "no such file or directory". Reads headers only.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Program headers that are looked through; real programs have about a dozen.
const HEADERS_MAX: u64 = 256;
const PT_INTERP: u32 = 3;

/// The architecture that the program is for, in the words of image configurations.
///
/// # Errors
/// When it cannot run in an image with nothing below it: why.
pub fn architecture(path: &Path) -> Result<&'static str, String> {
    let mut file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut head = [0; 64];
    let read = read_up_to(&mut file, &mut head).map_err(|e| e.to_string())?;
    let head = &head[..read];
    if head.starts_with(b"#!") {
        return Err("it is a script, and nothing in the image runs scripts; \
                    link a program statically, or give an archive"
            .to_owned());
    }
    if !head.starts_with(b"\x7fELF") || head.len() < 64 || head[4] != 2 || head[5] != 1 {
        return Err("it is no 64-bit little-endian ELF program".to_owned());
    }
    let architecture = match u16_at(head, 18) {
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        machine => return Err(format!("its ELF machine {machine} is not known")),
    };
    let (from, size, count) = (u64_at(head, 32), u16_at(head, 54), u16_at(head, 56));
    for n in 0..u64::from(count).min(HEADERS_MAX) {
        let at = from.saturating_add(n * u64::from(size));
        let mut kind = [0; 4];
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        let read = read_up_to(&mut file, &mut kind).map_err(|e| e.to_string())?;
        if read == 4 && u32::from_le_bytes(kind) == PT_INTERP {
            return Err(
                "it is linked dynamically, and there is nothing below it in the image; \
                 link it statically, or give an archive"
                    .to_owned(),
            );
        }
    }
    Ok(architecture)
}

fn read_up_to(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// `bytes` is longer than any offset asked for.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_start_alone_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let verdict = |bytes: &[u8]| {
            let path = dir.path().join("program");
            std::fs::write(&path, bytes).unwrap();
            architecture(&path)
        };
        let elf = |machine: u16, header: u32| {
            let mut bytes = vec![0; 64 + 56];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            bytes[18..20].copy_from_slice(&machine.to_le_bytes());
            bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
            bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
            bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
            bytes[64..68].copy_from_slice(&header.to_le_bytes());
            bytes
        };
        assert_eq!(verdict(&elf(62, 1)), Ok("amd64"));
        assert_eq!(verdict(&elf(183, 1)), Ok("arm64"));
        let reason = |bytes: &[u8]| verdict(bytes).unwrap_err();
        assert!(reason(&elf(62, PT_INTERP)).contains("dynamically"));
        assert!(reason(&elf(9, 1)).contains("machine 9"));
        assert!(reason(b"#!/bin/sh\n").contains("script"));
        assert!(reason(b"").contains("no 64-bit"));
        assert!(reason(&elf(62, 1)[..32]).contains("no 64-bit"));
        let this_test = std::env::current_exe().unwrap();
        assert!(
            architecture(&this_test)
                .unwrap_err()
                .contains("dynamically")
        );
    }
}
