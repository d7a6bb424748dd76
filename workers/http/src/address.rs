//! Where a target is, and where a redirect may lead.
//!
//! Nothing here may ever turn a reference of a server into a request to another origin: credentials travel with it.

use crate::limits;

/// Scheme, host and port: what "the same server" means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub https: bool,
    /// Lower case, without brackets.
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// Reads `[http[s]://]host[:port][/]`.
    ///
    /// # Errors
    /// With what is wrong, for the writer of the record.
    pub fn parse(address: &str) -> Result<Origin, String> {
        let (https, rest) = match address.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => return Err(format!("address: unknown scheme {scheme:?}")),
            None => (true, address),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('/') {
            return Err(format!(
                "address {address:?}: the path belongs to sources and requests; write https://host or https://host:port"
            ));
        }
        Origin::of(https, authority)
            .ok_or_else(|| format!("address {address:?}: write https://host or https://host:port"))
    }

    /// Reads an absolute URL into its origin and its path with query.
    ///
    /// # Errors
    /// When it is no http or https URL.
    pub fn split(url: &str) -> Result<(Origin, String), String> {
        let wrong = || format!("{url:?} is no http or https URL");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let origin = Origin::of(https, authority).ok_or_else(wrong)?;
        let path = path.split('#').next().unwrap_or_default();
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        valid_path(&path).then_some(()).ok_or_else(wrong)?;
        Ok((origin, path))
    }

    fn of(https: bool, authority: &str) -> Option<Origin> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']')?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':')?),
                };
                host.contains(':').then_some(())?;
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let in_name = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
        (!host.is_empty() && host.chars().all(in_name)).then_some(())?;
        let port = match port {
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok()?,
            Some(_) => return None,
            None if https => 443,
            None => 80,
        };
        Some(Origin {
            https,
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Value of the Host header.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.authority())
    }

    /// The path and query that `reference` means on this origin when it stood at `base`; none when it leads elsewhere.
    pub fn resolve(&self, base: &str, reference: &str) -> Option<String> {
        let reference = reference.trim();
        let reference = reference.split('#').next().unwrap_or_default();
        let path = if let Some(rest) = reference.strip_prefix("//") {
            let (origin, path) = Origin::split(&format!("{}://{rest}", self.scheme())).ok()?;
            (origin == *self).then_some(path)?
        } else if has_scheme(reference) {
            let (origin, path) = Origin::split(reference).ok()?;
            (origin == *self).then_some(path)?
        } else if reference.starts_with('/') {
            reference.to_owned()
        } else {
            let base = base.split('?').next().unwrap_or_default();
            match reference {
                "" => return None,
                query if query.starts_with('?') => format!("{base}{query}"),
                relative => {
                    let folder = &base[..base.rfind('/').map_or(0, |at| at + 1)];
                    format!("{folder}{relative}")
                }
            }
        };
        let path = without_dots(&path);
        valid_path(&path).then_some(path)
    }
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find(['/', '?']).unwrap_or(reference.len());
    reference[..end].contains(':')
}

/// Whether `path` can stand in a request line: absolute, visible ASCII, not too long.
pub fn valid_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= limits::PATH_BYTES_MAX
        && path
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(&b))
}

/// RFC 3986 section 5.2.4, on the part before the query.
fn without_dots(path: &str) -> String {
    let (path, query) = match path.find('?') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_an_origin_and_nothing_more() {
        let table = [
            ("https://10.0.0.1", Some("https 10.0.0.1 443")),
            ("https://Api.Example:8443/", Some("https api.example 8443")),
            ("plant", Some("https plant 443")),
            ("http://127.0.0.1:9100", Some("http 127.0.0.1 9100")),
            ("https://[::1]:8443", Some("https ::1 8443")),
            ("https://[::1]", Some("https ::1 443")),
            ("https://[::1]x", None),
            ("ftp://x", None),
            ("https://", None),
            ("https://a:99999", None),
            ("https://a:+1", None),
            ("https://a/api/v1", None),
            ("https://u:p@a", None),
            ("https://a b", None),
            ("https://a?x", None),
        ];
        for (text, want) in table {
            let got = Origin::parse(text).ok();
            let got = got.map(|o| format!("{} {} {}", o.scheme(), o.host, o.port));
            assert_eq!(got.as_deref(), want, "{text}");
        }
        let v6 = Origin::parse("http://[fe80::1]:80").unwrap();
        assert_eq!(v6.url("/x"), "http://[fe80::1]/x");
    }

    #[test]
    fn references_never_leave_the_origin() {
        let origin = Origin::parse("https://plant:8443").unwrap();
        let table = [
            ("/b", Some("/b")),
            ("/b/../c/./d?x=../y", Some("/c/d?x=../y")),
            ("/../../b", Some("/b")),
            ("c", Some("/api/c")),
            ("../c", Some("/c")),
            ("./", Some("/api/")),
            ("?page=2", Some("/api/a?page=2")),
            ("https://plant:8443/x#y", Some("/x")),
            ("HTTPS://PLANT:8443/x", Some("/x")),
            ("https://plant:8443", Some("/")),
            ("https://plant:8443?q", Some("/?q")),
            ("//plant:8443/x", Some("/x")),
            ("https://plant/x", None),
            ("http://plant:8443/x", None),
            ("https://plant:8443@evil.example/x", None),
            ("https://evil.example/x", None),
            ("//evil.example/x", None),
            ("\\\\evil.example/x", None),
            ("/\\evil.example", None),
            ("//plant:8443//evil.example", None),
            ("/..//evil.example", None),
            ("javascript:alert(1)", None),
            ("/a b", None),
            ("/a\r\nX: y", None),
            ("", None),
            ("#top", None),
        ];
        for (reference, want) in table {
            let got = origin.resolve("/api/a?page=1", reference);
            assert_eq!(got.as_deref(), want, "{reference:?}");
        }
    }
}
